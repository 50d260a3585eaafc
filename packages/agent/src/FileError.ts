/**
 * A file of a deployment (network key, trust, certificate, input) could not be used.
 */
import * as Schema from "effect/Schema"

/** A file could not be used: which, for what, why, and what to do. */
export class FileError extends Schema.TaggedError<FileError>()("FileError", {
  path: Schema.String,
  /** `NotFound`, `NotPrivate`, `Malformed`, `TooLarge`, `Exists`, `Io`. */
  code: Schema.Literals(["NotFound", "NotPrivate", "Malformed", "TooLarge", "Exists", "Io"]),
  /** What the file is for: `network key`. */
  what: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `the ${this.what} file ${this.path} cannot be used: ${this.detail}`
  }
}
