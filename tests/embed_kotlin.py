"""Builds docs/embed's Kotlin files where a compiler is installed. Declarations take the place of Android's SDK and LCE's AAR."""

import shutil
import subprocess
from pathlib import Path

import pytest
from embed_program import EMBED

_DECLARATIONS = {
    "Context": """
package android.content
class Asset(val fileDescriptor: java.io.FileDescriptor, val startOffset: Long, val declaredLength: Long) : java.io.Closeable {
    override fun close() = Unit
}
abstract class AssetManager {
    abstract fun openFd(name: String): Asset
    abstract fun open(name: String): java.io.InputStream
}
abstract class Context { abstract val assets: AssetManager }
""",
    "Bitmap": """
package android.graphics
abstract class Bitmap {
    abstract val width: Int
    abstract val height: Int
    abstract fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int)
}
""",
    "Json": """
package org.json
abstract class JSONArray {
    abstract fun length(): Int
    abstract fun getString(index: Int): String
    abstract fun getDouble(index: Int): Double
}
open class JSONObject(text: String) {
    open fun optJSONArray(name: String): JSONArray? = null
    open fun getJSONObject(name: String): JSONObject = this
    open fun optString(name: String, fallback: String): String = fallback
    open fun optDouble(name: String, fallback: Double): Double = fallback
    open fun getInt(name: String): Int = 0
    open fun getDouble(name: String): Double = 0.0
    open fun isNull(name: String): Boolean = true
    open fun get(name: String): Any = this
}
""",
    "Interpreter": """
package org.tensorflow.lite
enum class DataType { FLOAT32, INT8 }
abstract class Tensor {
    class QuantizationParams(val scale: Float, val zeroPoint: Int)
    abstract fun shape(): IntArray
    abstract fun numBytes(): Int
    abstract fun dataType(): DataType
    abstract fun quantizationParams(): QuantizationParams
}
open class Interpreter(model: java.nio.ByteBuffer, options: Options) : AutoCloseable {
    class Options { fun setNumThreads(count: Int): Options = this }
    open fun getInputTensor(index: Int): Tensor = throw UnsupportedOperationException()
    open fun getOutputTensor(index: Int): Tensor = throw UnsupportedOperationException()
    open fun run(input: Any, output: Any) = Unit
    override fun close() = Unit
}
""",
    # Arguments: height width channels mean std crop bgr bicubic scale zero, then pictures; "-" for no mean and std. Prints the
    # input of each as bits in hexadecimal, and as int8.
    "Main": """
package com.example.classifier
fun main(words: Array<String>) {
    fun numbers(text: String) = if (text == "-") null else text.split(",").map { it.toDouble().toFloat() }.toFloatArray()
    val how = Preprocessing(
        words[0].toInt(), words[1].toInt(), words[2].toInt(), numbers(words[3]), numbers(words[4]), words[5].toDouble(),
        words[6] == "true", words[7] == "true"
    )
    for (name in words.drop(10)) {
        val bytes = java.io.File(name).readBytes()
        // The head as Pillow writes it: "P6\\nWIDTH HEIGHT\\n255\\n".
        val head = String(bytes, 0, minOf(40, bytes.size), Charsets.ISO_8859_1).split("\\n").take(3)
        val (width, height) = head[1].split(" ").map { it.toInt() }
        val first = head.joinToString("\\n").length + 1
        val channels = if (head[0] == "P6") 3 else 1
        val pixels = IntArray(width * height * channels) { bytes[first + it].toInt() and 255 }
        val input = how.prepare(Picture(width, height, channels, pixels))
        println(input.joinToString(" ") { Integer.toHexString(java.lang.Float.floatToRawIntBits(it)) })
        println(Preprocessing.quantize(input, words[8].toFloat(), words[9].toInt()).joinToString(" "))
    }
}
""",
}


def build(folder: Path) -> list[str]:
    """Compile everything and return the command that runs `Main`. Skips the test if there is no compiler."""
    compiler, java = shutil.which("kotlinc"), shutil.which("java")
    if compiler is None or java is None:
        pytest.skip("no Kotlin compiler: kotlinc or java is not installed")
    sources = [EMBED / "Preprocess.kt", EMBED / "Classifier.kt"]
    for name, text in _DECLARATIONS.items():
        sources.append(folder / f"{name}.kt")
        sources[-1].write_text(text)
    jar = folder / "classifier.jar"
    done = subprocess.run([compiler, *sources, "-include-runtime", "-d", jar], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [java, "-cp", str(jar), "com.example.classifier.MainKt"]
