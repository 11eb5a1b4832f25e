// An image classifier of el-larq in an Android app, with the AAR of Larq Compute Engine's release (lce-lite-*.aar) in app/libs:
//
//   android { aaptOptions { noCompress "tflite" } }
//   dependencies { implementation files("libs/lce-lite.aar") }
//
// The AAR contains TensorFlow Lite's Java classes with LCE's operators registered. Do not add org.tensorflow:tensorflow-lite
// next to it: the classes would exist twice, and its native library has no Lce operator.
// Its optimized kernels exist for arm64-v8a only; the emulator (x86_64) runs the slow ones.
//
// A camera's frame is a Bitmap with ImageProxy.toBitmap() of CameraX; rotate it upright first.

package com.example.classifier

import android.content.Context
import android.graphics.Bitmap
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.json.JSONArray
import org.json.JSONObject
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

/**
 * Classifies pictures, which it prepares as the card's "preprocessing" says.
 *
 * A pixel takes 16 bytes of the heap: 5 MB for a camera's frame of 640x480, 200 MB for a photograph of 12 million pixels, more than
 * many phones allow an app.
 */
class Classifier(context: Context, model: String = "model.tflite", card: String = "card.json") : AutoCloseable {
    private val interpreter: Interpreter
    private val labels: List<String>
    private val preprocessing: Preprocessing

    init {
        val buffer = context.assets.openFd(model).use { asset ->
            FileInputStream(asset.fileDescriptor).channel.use {
                it.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
            }
        }
        interpreter = Interpreter(buffer, Interpreter.Options().setNumThreads(1))
        // The Java API does not read a model's metadata: docs/embed/README.md has the line that writes it to card.json.
        val json = JSONObject(context.assets.open(card).bufferedReader().use { it.readText() })
        labels = json.optJSONArray("labels")?.let { found -> List(found.length()) { found.getString(it) } } ?: emptyList()
        preprocessing = readPreprocessing(json.getJSONObject("preprocessing"))
        val shape = interpreter.getInputTensor(0).shape().drop(1)
        require(shape == listOf(preprocessing.height, preprocessing.width, preprocessing.channels)) { "$card is of another model" }
    }

    /** The best label, or its number where the card names none. */
    fun classify(bitmap: Bitmap): String {
        val argb = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        val rgb = IntArray(3 * argb.size) { (argb[it / 3] shr (16 - 8 * (it % 3))) and 255 }
        val scores = run(preprocessing.prepare(Picture(bitmap.width, bitmap.height, 3, rgb)))
        var best = 0
        for (index in scores.indices) if (scores[index] > scores[best]) best = index
        return labels.getOrElse(best) { best.toString() }
    }

    /** The scores of the classes; those of an int8 model as integers, which have the same order. */
    private fun run(prepared: FloatArray): FloatArray {
        val input = interpreter.getInputTensor(0)
        val output = interpreter.getOutputTensor(0)
        val into = ByteBuffer.allocateDirect(input.numBytes()).order(ByteOrder.nativeOrder())
        if (input.dataType() == DataType.INT8) {
            val how = input.quantizationParams()
            into.put(Preprocessing.quantize(prepared, how.scale, how.zeroPoint))
        } else {
            into.asFloatBuffer().put(prepared)
        }
        into.rewind()
        val from = ByteBuffer.allocateDirect(output.numBytes()).order(ByteOrder.nativeOrder())
        interpreter.run(into, from)
        from.rewind()
        if (output.dataType() == DataType.INT8) return FloatArray(output.numBytes()) { from.get(it).toFloat() }
        return FloatArray(output.numBytes() / 4) { from.getFloat(4 * it) }
    }

    override fun close() = interpreter.close()
}

private fun readPreprocessing(json: JSONObject): Preprocessing {
    val order = json.optString("channel_order", "rgb")
    val resampling = json.optString("resampling", "bilinear")
    require(!json.optBoolean("stretch")) { "a detector, of which this class does not read the boxes" }
    require(order in listOf("rgb", "bgr") && resampling in listOf("bilinear", "bicubic")) { "an unknown preprocessing" }
    return Preprocessing(
        json.getInt("height"),
        json.getInt("width"),
        json.getInt("channels"),
        readNumbers(json, "mean"),
        readNumbers(json, "std"),
        json.optDouble("crop", 1.0),
        order == "bgr",
        resampling == "bicubic"
    )
}

/** One number, or one per channel; null if there is none. */
private fun readNumbers(json: JSONObject, name: String): FloatArray? {
    if (json.isNull(name)) return null
    val value = json.get(name)
    if (value is JSONArray) return FloatArray(value.length()) { value.getDouble(it).toFloat() }
    return floatArrayOf(json.getDouble(name).toFloat())
}
