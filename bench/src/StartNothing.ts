/** A program that does nothing: what its runtime takes to start. */
export {}
