/**
 * Bytes that travel as they are: the values of `Schema.Uint8Array` itself. Of any other schema, one that refines it too, JSON
 * travels, in which bytes are base64.
 */
import * as Schema from "effect/Schema"

/** Whether the values of a schema are bytes and nothing else. */
export const isBytes = (schema: unknown): boolean => schema === Schema.Uint8Array
