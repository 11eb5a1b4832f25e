// From a picture of 8 bits to the values that a network takes, as el-larq prepares its pictures in training: the same pixels, bit
// for bit, and the same values, bit for bit too where the card has mean and std. preprocess.h is the same in C++.
//
// Plain Kotlin, without Android: Classifier.kt makes a Picture of a Bitmap.

package com.example.classifier

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sqrt

/** Pixels in rows, and in each pixel the [channels], 0 to 255: 1 (grey) or 3 (red, green, blue). */
class Picture(val width: Int, val height: Int, val channels: Int, val pixels: IntArray) {
    /** The picture with 1 channel (luma of ITU-R 601) or 3. */
    fun withChannels(wanted: Int): Picture {
        if (channels == wanted) return this
        val result = if (wanted == 1) {
            IntArray(width * height) { (pixels[3 * it] * 19595 + pixels[3 * it + 1] * 38470 + pixels[3 * it + 2] * 7471 + 0x8000) shr 16 }
        } else {
            IntArray(3 * width * height) { pixels[it / 3] }
        }
        return Picture(width, height, wanted, result)
    }
}

/**
 * What the card says about the pictures.
 *
 * [mean], [std]: one number, or one per channel; null: each picture's own. [crop]: the fraction that is kept of the largest centred
 * part with the input's aspect ratio. [bgr]: the order of the input's channels. [bicubic]: instead of bilinear.
 */
class Preprocessing(
    val height: Int,
    val width: Int,
    val channels: Int,
    val mean: FloatArray?,
    val std: FloatArray?,
    val crop: Double = 1.0,
    val bgr: Boolean = false,
    val bicubic: Boolean = false
) {
    init {
        val sizes = height in 1..8192 && width in 1..8192 && (channels == 1 || channels == 3)
        val numbers = listOf(mean, std).all { it == null || ((it.size == 1 || it.size == channels) && it.all { one -> one.isFinite() }) }
        val positive = std == null || std.all { it > 0f }
        require(sizes && numbers && positive && (mean == null) == (std == null) && crop > 0 && crop <= 1) { "the card is damaged" }
    }

    /** The network's input: height x width x channels, in this order. */
    fun prepare(picture: Picture): FloatArray {
        val seen = resize(picture.withChannels(channels)).pixels
        val (mean, std) = if (mean != null && std != null) Pair(mean, std) else own(seen)
        return FloatArray(seen.size) {
            val channel = it % channels
            val from = if (bgr) it - channel + (channels - 1 - channel) else it
            (seen[from].toFloat() - mean[if (mean.size > 1) channel else 0]) / std[if (std.size > 1) channel else 0]
        }
    }

    /** Mean and standard deviation of all values; a uniform picture is not divided by zero. */
    private fun own(values: IntArray): Pair<FloatArray, FloatArray> {
        val mean = values.fold(0.0) { sum, value -> sum + value } / values.size
        val variance = values.fold(0.0) { sum, value -> sum + (value - mean) * (value - mean) } / values.size
        return Pair(floatArrayOf(mean.toFloat()), floatArrayOf(max(sqrt(variance).toFloat(), 1f)))
    }

    private fun resize(picture: Picture): Picture {
        // The part that the network sees, with the precision that Pillow has for it.
        val scale = min(picture.width.toDouble() / width, picture.height.toDouble() / height) * crop
        val partWidth = min(width * scale, picture.width.toDouble())
        val partHeight = min(height * scale, picture.height.toDouble())
        val left = (picture.width - partWidth) / 2
        val top = (picture.height - partHeight) / 2
        val columns = makeTaps(picture.width, left.toFloat(), (left + partWidth).toFloat(), width)
        val rows = makeTaps(picture.height, top.toFloat(), (top + partHeight).toFloat(), height)
        // Values are rounded to 8 bits between, so the order matters. This is the order of Pillow 13; older versions always resized the rows first.
        val shorter = picture.height - height
        val narrower = picture.width - width
        if (shorter > 0 && shorter > 2 * narrower) return resizeRows(resizeColumns(picture, rows), columns)
        return resizeColumns(resizeRows(picture, columns), rows)
    }

    /** Each row of a picture with the pixels that the taps make of it. */
    private fun resizeRows(picture: Picture, columns: List<Taps>): Picture {
        val line = columns.size * channels
        return Picture(columns.size, picture.height, channels, IntArray(picture.height * line) {
            val taps = columns[it % line / channels]
            val from = (it / line * picture.width + taps.first) * channels + it % channels
            weighted(picture.pixels, from, channels, taps.weights)
        })
    }

    private fun resizeColumns(picture: Picture, rows: List<Taps>): Picture {
        val line = picture.width * channels
        return Picture(picture.width, rows.size, channels, IntArray(rows.size * line) {
            val taps = rows[it / line]
            weighted(picture.pixels, taps.first * line + it % line, line, taps.weights)
        })
    }

    /** The pixels that contribute to one output pixel along one side, and their weights in fixed point. */
    private class Taps(val first: Int, val weights: IntArray)

    /** For a part [begin, end) of a side of [size] pixels that becomes [wanted] pixels. */
    private fun makeTaps(size: Int, begin: Float, end: Float, wanted: Int): List<Taps> {
        val scale = (end - begin).toDouble() / wanted
        val stretch = max(scale, 1.0) // antialiasing: when shrinking, the filter covers all pixels
        val reach = (if (bicubic) 2.0 else 1.0) * stretch
        return List(wanted) { to ->
            val centre = begin + (to + 0.5) * scale
            val first = max((centre - reach + 0.5).toInt(), 0)
            val last = min((centre + reach + 0.5).toInt(), size)
            val weights = DoubleArray(last - first) { filter((first + it - centre + 0.5) * (1.0 / stretch)) }
            val sum = weights.sum()
            Taps(first, IntArray(weights.size) {
                val fixed = (if (sum != 0.0) weights[it] / sum else weights[it]) * (1 shl BITS)
                (if (fixed < 0) fixed - 0.5 else fixed + 0.5).toInt()
            })
        }
    }

    private fun filter(signed: Double): Double {
        val x = abs(signed)
        if (!bicubic) return if (x < 1) 1 - x else 0.0
        val a = -0.5
        if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
        return if (x < 2) (((x - 5) * x + 8) * x - 4) * a else 0.0
    }

    private fun weighted(values: IntArray, from: Int, step: Int, weights: IntArray): Int {
        var sum = 1 shl (BITS - 1)
        for (tap in weights.indices) sum += values[from + tap * step] * weights[tap]
        return min(max(sum shr BITS, 0), 255)
    }

    companion object {
        private const val BITS = 22

        /** The input of an int8 model, whose scale and zero point are in the .tflite: x / scale + zero point, rounded, ties to even. */
        fun quantize(input: FloatArray, scale: Float, zeroPoint: Int): ByteArray = ByteArray(input.size) {
            val rounded = Math.rint((input[it] / scale + zeroPoint.toFloat()).toDouble()).toInt()
            min(max(rounded, -128), 127).toByte()
        }
    }
}
