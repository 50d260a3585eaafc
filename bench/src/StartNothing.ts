/** A program that does next to nothing: what its runtime takes to start. */
process.exitCode = 0
