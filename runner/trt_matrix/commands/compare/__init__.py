"""`trt-matrix compare A B`: dumped outputs against each other, without a matrix.yaml."""
