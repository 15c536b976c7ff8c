// Which version of TensorRT these headers state: jobs refuse those of another major.
#define NV_TENSORRT_MAJOR 8
