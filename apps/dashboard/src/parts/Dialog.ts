/** A modal dialog that is open where a signal says so. */
import type { Signal } from "@preact/signals"
import type { RefObject } from "preact"
import { useLayoutEffect, useRef } from "preact/hooks"

/**
 * Opens and closes a dialog as the signal says, and gives what to do when it says that it was closed. It says so late: one that
 * was closed from here and opened again meanwhile must not be taken for one that a person has closed.
 */
export const useDialog = (dialog: RefObject<HTMLDialogElement | null>, open: Signal<boolean>): (() => void) => {
  const closedHere = useRef(0)
  useLayoutEffect(() => {
    const element = dialog.current!
    if (open.value && !element.open) element.showModal()
    else if (!open.value && element.open) {
      closedHere.current++
      element.close()
    }
  }, [open.value])
  return () => {
    if (closedHere.current > 0) closedHere.current--
    else open.value = false
  }
}
