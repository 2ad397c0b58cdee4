package dev.fogcompute

import java.io.File
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** The files of the checkout that tests read. */
object Checkout {
    private val root = File(checkNotNull(System.getProperty("fog.root")) { "set fog.root" })

    val vectors: JsonObject by lazy {
        Json.parseToJsonElement(file("bindings/vectors/shared.json").readText()).jsonObject
    }
    val endless: ByteArray by lazy { file("bindings/vectors/endless.wasm").readBytes() }

    fun example(name: String): ByteArray = file("examples/wasm/$name.wasm").readBytes()

    private fun file(path: String) = root.resolve(path)
}

/** A field that may be absent or null. */
fun JsonObject.maybe(field: String): JsonElement? = this[field].takeUnless { it is JsonNull }

fun JsonObject.text(field: String): String = getValue(field).jsonPrimitive.content

fun JsonObject.long(field: String): Long = text(field).toLong()

fun JsonObject.double(field: String): Double = text(field).toDouble()

fun JsonObject.bytes(field: String): ByteArray = text(field).hexToByteArray()

fun JsonObject.child(field: String): JsonObject = getValue(field).jsonObject

fun JsonObject.list(field: String): JsonArray = getValue(field).jsonArray

fun JsonObject.objects(field: String): List<JsonObject> = list(field).map { it.jsonObject }

fun JsonElement.texts(): List<String> = jsonArray.map { it.jsonPrimitive.content }

fun JsonElement.doubles(): List<Double> = texts().map(String::toDouble)

/** The name all languages share: `INVALID_ARGUMENT` is `InvalidArgument`. */
val ErrorCode.sharedName: String
    get() = name.split('_').joinToString("") { it.lowercase().replaceFirstChar(Char::uppercase) }
