# Describes the columns that columns.ts prints: shifted sums for mean and deviation, heapsort for the median.
# Shifted sums: T. F. Chan, G. H. Golub, R. J. LeVeque, 1983. Heapsort: J. W. J. Williams, 1964.
BEGIN { FS = "\t" }

function sift(root, last,    child, held) {
  held = x[root]
  while ((child = 2 * root) <= last) {
    if (child < last && x[child] < x[child + 1]) child++
    if (x[child] <= held) break
    x[root] = x[child]
    root = child
  }
  x[root] = held
}

function heapsort(    i, held) {
  for (i = int(n / 2); i >= 1; i--) sift(i, n)
  for (i = n; i > 1; i--) {
    held = x[1]; x[1] = x[i]; x[i] = held
    sift(1, i - 1)
  }
}

function figure(value) { return sprintf("%.17g", value) }

function finish(    mean, sd, median, largest, left) {
  if (name == "") return
  if (n != expected) { broken = 1; exit 1 }
  mean = sum / n
  # What is left of the squares once the mean is known; rounding may leave less than nothing of zero.
  left = squares - sum * mean
  if (left < 0) left = 0
  sd = n == 1 ? "null" : figure(sqrt(left / (n - 1)))
  mean += first
  heapsort()
  median = n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2
  largest = -x[1] > x[n] ? -x[1] : x[n]
  if ((mean < 0 ? -mean : mean) < 1e-8 * largest) mean = 0
  printf "%s{\"name\":%s,\"n\":%d,\"missing\":%d,\"mean\":%s,\"sd\":%s,\"min\":%s,\"median\":%s,\"max\":%s}", \
    (count++ ? "," : ""), name, n, missing, figure(mean), sd, figure(x[1]), figure(median), figure(x[n])
}

$1 == "table" { printf "{\"rows\":%d,\"columns\":[", $2; next }
$1 == "column" { finish(); name = $2; missing = $3; expected = $4; n = 0; sum = 0; squares = 0; next }
$1 == "end" { finish(); complete = 1; print "]}"; exit 0 }
{
  x[++n] = $1 + 0
  if (n == 1) first = x[1]
  deviation = x[n] - first
  sum += deviation
  squares += deviation * deviation
}
END { if (!complete) exit 1 }
