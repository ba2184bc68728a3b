// What each target defines, and the table it offers.
#pragma once

#include "job.h"

#define NORIA_DECLARE_TARGET(target)                             \
  namespace target {                                             \
  template <class T>                                             \
  int64_t saved_row(const LayerInputs<T>& inputs);               \
  template <class T>                                             \
  int64_t packed_size(const LayerInputs<T>& inputs, bool int8);  \
  template <class T>                                             \
  void pack(const LayerInputs<T>& inputs, bool int8, T* packed); \
  template <class T>                                             \
  int64_t layout_forward(ForwardJob<T>& job, T* block);          \
  template <class T>                                             \
  void start_forward(const ForwardJob<T>& job, int part);        \
  template <class T>                                             \
  void run_forward(const ForwardJob<T>& job, int part);          \
  template <class T>                                             \
  void finish_forward(const ForwardJob<T>& job, int part);       \
  template <class T>                                             \
  int64_t layout_backward(BackwardJob<T>& job, T* block);        \
  template <class T>                                             \
  void backward(const BackwardJob<T>& job, int part);            \
  template <class T>                                             \
  const Kernels<T>& kernels();                                   \
  }

namespace noria {
NORIA_DECLARE_TARGET(baseline)
NORIA_DECLARE_TARGET(avx2)
NORIA_DECLARE_TARGET(avx512)
}  // namespace noria
