// An image classifier of el-larq in an Android app, with the AAR of Larq Compute Engine's release (lce-lite-*.aar) in app/libs:
//
//   android { aaptOptions { noCompress "tflite" } }
//   dependencies { implementation files("libs/lce-lite.aar") }
//
// The AAR contains TensorFlow Lite's Java classes with LCE's operators registered. Do not add org.tensorflow:tensorflow-lite
// next to it: the classes would exist twice, and its native library has no Lce operator.
// Its optimized kernels exist for arm64-v8a only; the emulator (x86_64) runs the slow ones.

package com.example.classifier

import android.content.Context
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

/** Takes [height] x [width] x [channels] float images, prepared as the card's "preprocessing" says. */
class Classifier(context: Context, model: String = "model.tflite", card: String = "card.json") : AutoCloseable {
    private val interpreter: Interpreter
    private val labels: List<String>

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
    }

    val height: Int get() = interpreter.getInputTensor(0).shape()[1]
    val width: Int get() = interpreter.getInputTensor(0).shape()[2]
    val channels: Int get() = interpreter.getInputTensor(0).shape()[3]

    /** The best label, or its number where the card names none. [image]: height, width, channels, flattened in that order. */
    fun classify(image: FloatArray): String {
        require(image.size == height * width * channels) { "the model takes $height x $width x $channels values" }
        val input = ByteBuffer.allocateDirect(4 * image.size).order(ByteOrder.nativeOrder())
        input.asFloatBuffer().put(image)
        val scores = Array(1) { FloatArray(interpreter.getOutputTensor(0).shape()[1]) }
        interpreter.run(input, scores)
        val best = scores[0].indices.maxBy { scores[0][it] }
        return labels.getOrElse(best) { best.toString() }
    }

    override fun close() = interpreter.close()
}
