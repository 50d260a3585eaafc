/** Loads what an agent needs of `effect`, and nothing else: no start of a node that uses it takes less. */
import "effect/Effect"
import "effect/Schema"
import "effect/Stream"
