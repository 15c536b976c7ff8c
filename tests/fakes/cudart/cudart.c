/* The CUDA runtime as the job uses it, on host memory. Built by the tests with gcc.
 *
 * FAKE_CUDART_FAIL=cudaMalloc:3    the third call of that function fails
 * FAKE_CUDART_REPORT=PATH          at the end, what was made and not freed: "live 0"
 * FAKE_CUDART_DEVICES=N            GPUs there are; default 1
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_HANDLE = 400 };
enum kind { DEVICE = 1, PINNED, STREAM, EVENT };

struct thing { void *address; size_t size; enum kind kind; double recorded; };
static struct thing things[4096];

static int live(void) {
  int count = 0;
  for (int i = 0; i < 4096; i++) count += things[i].address != 0;
  return count;
}

__attribute__((destructor)) static void report(void) {
  const char *path = getenv("FAKE_CUDART_REPORT");
  FILE *stream = path ? fopen(path, "w") : 0;
  if (stream) { fprintf(stream, "live %d\n", live()); fclose(stream); }
}

static char names[16][40];
static int calls[16];

/* How often a function was called while it was told to fail at some time. */
int fakeCalls(const char *function) {
  for (int slot = 0; slot < 16; slot++)
    if (!strcmp(names[slot], function)) return calls[slot];
  return 0;
}

static int told_to_fail(const char *function) {
  const char *wish = getenv("FAKE_CUDART_FAIL");
  size_t length = strlen(function);
  if (!wish || strncmp(wish, function, length) || wish[length] != ':') return 0;
  int slot = 0;
  while (names[slot][0] && strcmp(names[slot], function)) slot++;
  strcpy(names[slot], function);
  return ++calls[slot] == atoi(wish + length + 1);
}
#define MAY_FAIL(code) if (told_to_fail(__func__)) return code

static int make(void **out, size_t size, enum kind kind) {
  if (!out) return INVALID_VALUE;
  for (int i = 0; i < 4096; i++)
    if (!things[i].address) {
      *out = things[i].address = calloc(1, size ? size : 1);
      things[i].size = size;
      things[i].kind = kind;
      return SUCCESS;
    }
  return OUT_OF_MEMORY;
}

static struct thing *find(const void *address, enum kind kind) {
  for (int i = 0; i < 4096; i++)
    if (things[i].address == address && things[i].kind == kind && address) return &things[i];
  return 0;
}

static int destroy(void *address, enum kind kind) {
  struct thing *thing = find(address, kind);
  if (!thing) return kind == STREAM || kind == EVENT ? INVALID_HANDLE : INVALID_VALUE;
  free(thing->address);
  thing->address = 0;
  return SUCCESS;
}

/* Whether [address, address + size) lies in memory of that kind. */
static int within(const void *address, size_t size, enum kind kind) {
  for (int i = 0; i < 4096; i++)
    if (things[i].address && things[i].kind == kind && (char *)address >= (char *)things[i].address &&
        (char *)address + size <= (char *)things[i].address + things[i].size)
      return 1;
  return 0;
}

/* For the fake TensorRT: whether memory on the GPU is what it was given. */
int fakeIsDeviceMemory(const void *address, size_t size) { return within(address, size, DEVICE); }
int fakeIsStream(const void *address) { return find(address, STREAM) != 0; }

int cudaGetDeviceCount(int *count) {
  MAY_FAIL(NO_DEVICE);
  const char *devices = getenv("FAKE_CUDART_DEVICES");
  *count = devices ? atoi(devices) : 1;
  return *count ? SUCCESS : NO_DEVICE;
}
int cudaSetDevice(int device) { MAY_FAIL(NO_DEVICE); (void)device; return SUCCESS; }
int cudaRuntimeGetVersion(int *version) { *version = 12010; return SUCCESS; }
int cudaDriverGetVersion(int *version) { *version = 12020; return SUCCESS; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;
  return SUCCESS;
}
int cudaDeviceGetPCIBusId(char *id, int length, int device) {
  snprintf(id, length, "0000:%02x:00.0", device + 1);
  return SUCCESS;
}
int cudaMalloc(void **out, size_t size) { MAY_FAIL(OUT_OF_MEMORY); return make(out, size, DEVICE); }
int cudaMallocHost(void **out, size_t size) { MAY_FAIL(OUT_OF_MEMORY); return make(out, size, PINNED); }
int cudaFree(void *address) { MAY_FAIL(INVALID_VALUE); return destroy(address, DEVICE); }
int cudaFreeHost(void *address) { return destroy(address, PINNED); }
int cudaStreamCreateWithFlags(void **out, unsigned flags) {
  MAY_FAIL(OUT_OF_MEMORY);
  return flags > 1 ? INVALID_VALUE : make(out, 1, STREAM);
}
int cudaStreamDestroy(void *stream) { return destroy(stream, STREAM); }
int cudaStreamSynchronize(void *stream) { MAY_FAIL(700); return find(stream, STREAM) ? SUCCESS : INVALID_HANDLE; }
int cudaEventCreate(void **out) { MAY_FAIL(OUT_OF_MEMORY); return make(out, 1, EVENT); }
int cudaEventDestroy(void *event) { return destroy(event, EVENT); }
int cudaEventRecord(void *event, void *stream) {
  struct thing *thing = find(event, EVENT);
  struct timespec now;
  MAY_FAIL(INVALID_HANDLE);
  if (!thing || !find(stream, STREAM)) return INVALID_HANDLE;
  clock_gettime(CLOCK_MONOTONIC, &now);
  thing->recorded = now.tv_sec * 1e3 + now.tv_nsec / 1e6;
  return SUCCESS;
}
int cudaEventElapsedTime(float *ms, void *start, void *end) {
  struct thing *from = find(start, EVENT), *to = find(end, EVENT);
  if (!from || !to) return INVALID_HANDLE;
  *ms = (float)(to->recorded - from->recorded);
  return SUCCESS;
}
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
  MAY_FAIL(INVALID_VALUE);
  if (!find(stream, STREAM)) return INVALID_HANDLE;
  if (kind == 1 ? !within(to, size, DEVICE) : kind == 2 ? !within(from, size, DEVICE) : 1) return INVALID_VALUE;
  memcpy(to, from, size);
  return SUCCESS;
}
int cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                      int kind, void *stream) {
  (void)stream;
  if (kind != 3 || to_pitch < width || from_pitch < width) return INVALID_VALUE;
  for (size_t i = 0; i < height; i++)
    memcpy((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width);
  return SUCCESS;
}
const char *cudaGetErrorName(int code) {
  switch (code) {
    case INVALID_VALUE: return "cudaErrorInvalidValue";
    case OUT_OF_MEMORY: return "cudaErrorMemoryAllocation";
    case NO_DEVICE: return "cudaErrorNoDevice";
    case INVALID_HANDLE: return "cudaErrorInvalidResourceHandle";
    case 700: return "cudaErrorIllegalAddress";
    default: return "cudaErrorUnknown";
  }
}
const char *cudaGetErrorString(int code) { return code == OUT_OF_MEMORY ? "out of memory" : "made to fail by the test"; }
