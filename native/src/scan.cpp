#include "scan.h"

#include "targets.h"

namespace noria::NORIA_TARGET {
namespace {

constexpr int64_t block_bytes = 512 * 1024;  // half of a usual L2 cache
constexpr int64_t least_block_rows = 96;

// Where weights and biases lie once packed.
template <class T>
struct Packed {
  T *ih, *hh, *bias;
  int64_t size;
};

template <class T, class CellType>
Packed<T> place(const ScanInputs<T>& in, T* block) {
  constexpr int G = CellType::gates, W = width<T>;
  const int64_t hidden = in.sizes.hidden, panels = panels_of<T>(hidden);
  const int64_t depth = in.recurrence == Recurrence::dense ? hidden : 1;
  Arena<T> arena(block);
  T* ih = arena.take(panels * in.sizes.input * G * W);
  T* hh = arena.take(panels * depth * G * W);
  T* bias = arena.take(panels * CellType::slots * W);
  return {ih, hh, bias, arena.used()};
}

template <class T, class CellType>
void pack_panels(const ScanInputs<T>& in, Range panels, T* block) {
  constexpr int G = CellType::gates, S = CellType::slots, W = width<T>;
  const int64_t hidden = in.sizes.hidden;
  const int* input_gates = CellType::gate_of;
  const int* state_gates = CellType::gate_of + (S - G);
  const Packed<T> packed = place<T, CellType>(in, block);
  pack_gates(in.weight_ih, hidden, in.sizes.input, G, input_gates, panels.first, panels.last, packed.ih);
  if (in.recurrence == Recurrence::dense)
    pack_gates(in.weight_hh, hidden, hidden, G, state_gates, panels.first, panels.last, packed.hh);
  if (in.recurrence == Recurrence::diagonal)
    pack_diagonal<T, CellType>(in.weight_hh, hidden, panels, packed.hh);
  for (int64_t panel = panels.first; panel < panels.last; ++panel)
    for (int s = 0; s < S; ++s) {
      const int64_t j = panel * W, from = CellType::gate_of[s] * hidden + j;
      Vector<T> bias = {};
      if (s < G) bias = bias + load_some(in.bias_ih + from, hidden - j);
      if (s >= S - G) bias = bias + load_some(in.bias_hh + from, hidden - j);
      store(packed.bias + (panel * S + s) * W, bias);
    }
}

// gates[row] = bias + W_ih · x[row] for the steps [first, last) of the block, which parts share evenly.
template <class T, class CellType>
void multiply_input(const ForwardJob<T>& job, int64_t first, int64_t last, int part, T* gates) {
  constexpr int G = CellType::gates, S = CellType::slots, K = CellType::kept, W = width<T>;
  const int64_t input = job.in.sizes.input, panels = panels_of<T>(job.in.sizes.hidden);
  const int64_t block_first = job.offset[first];
  const Range rows = share(job.offset[last] - block_first, part, job.parts);
  for (int64_t t = first; t < last; ++t) {
    const int64_t start = job.offset[t] - block_first;
    for (int64_t s = 0; s < job.active[t]; ++s)
      if (start + s >= rows.first && start + s < rows.last)
        memcpy(job.x + (start + s) * input, job.in.x + job.at(s, t) * input, size_t(input) * sizeof(T));
  }
  const Product<T> product = {.depth = input,
                              .a = job.x + rows.first * input,
                              .a_row = input,
                              .w = job.packed_ih,
                              .w_panel = input * G * W,
                              .start = job.bias,
                              .start_row = 0,
                              .start_panel = S * W,
                              .c = gates + rows.first * panels * K * W,
                              .c_row = panels * K * W,
                              .c_panel = K * W};
  multiply<T, G>(product, rows.last - rows.first, 0, panels);
  for (int s = G; s < S; ++s)
    for (int64_t row = rows.first; row < rows.last; ++row)
      for (int64_t panel = 0; panel < panels; ++panel)
        store(gates + ((row * panels + panel) * K + s) * W, load(job.bias + (panel * S + s) * W));
}

template <class T, class CellType>
void step(const ForwardJob<T>& job, int64_t t, Range rows, Range own, T* gates) {
  constexpr int G = CellType::gates, S = CellType::slots, K = CellType::kept, W = width<T>;
  const int64_t hidden = job.in.sizes.hidden, panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t count = running(job, rows, t);
  if (count == 0) return;
  T* state_gates = gates + (S - G) * W;
  const int before_side = t & 1, after_side = ~t & 1;
  const T* operand = job.masked[before_side] + rows.first * padded;
  const Product<T> product = {.depth = hidden,
                              .a = operand,
                              .a_row = padded,
                              .w = job.packed_hh,
                              .w_panel = hidden * G * W,
                              .start = state_gates,
                              .start_row = panels * K * W,
                              .start_panel = K * W,
                              .c = state_gates,
                              .c_row = panels * K * W,
                              .c_panel = K * W};
  const bool dense = job.in.recurrence == Recurrence::dense;
  const int64_t at_once = panels_at_once<G>(count);
  for (int64_t panel = own.first; panel < own.last;) {
    const int64_t left = own.last - panel;
    int64_t done = left < at_once ? left : at_once;
    if (dense) done = multiply_some<T, G>(product, count, panel, done);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t s = rows.first + i;
      T* y = job.out.y + job.at(s, t) * hidden;
      for (int64_t p = panel; p < panel + done; ++p) {
        T* gate = gates + (i * panels + p) * K * W;
        const int64_t j = s * padded + p * W;
        Vector<T> a[K];
        for (int g = 0; g < S; ++g) a[g] = load(gate + g * W);
        if (job.in.recurrence == Recurrence::diagonal) {
          const Vector<T> h = load(job.masked[before_side] + j);
          for (int g = 0; g < G; ++g)
            a[S - G + g] = fma(load(job.packed_hh + (p * G + g) * W), h, a[S - G + g]);
        }
        Vector<T> before[CellType::states], after[CellType::states];
        before[0] = load(job.h[before_side] + j);
        if constexpr (CellType::states > 1) before[1] = load(job.c + j);
        CellType::forward(a, before, after);
        store(job.h[after_side] + j, after[0]);
        if constexpr (CellType::states > 1) store(job.c + j, after[1]);
        if (job.mask) store(job.masked[after_side] + j, after[0] * load(job.mask + j));
        store_some(y + p * W, after[0], hidden - p * W);
        if (job.out.saved)
          for (int g = 0; g < K; ++g) store(gate + g * W, a[g]);
      }
    }
    panel += done;
  }
}

template <class T, class CellType>
void run(const ForwardJob<T>& job, int part) {
  constexpr int K = CellType::kept, W = width<T>;
  const int64_t hidden = job.in.sizes.hidden, panels = panels_of<T>(hidden), padded = panels * W;
  const Range rows = rows_of(job, part), own = panels_of(job, part);
  if (!job.in.packed) pack_panels<T, CellType>(job.in, share(panels, part, job.parts), job.packed);
  gather(job, job.in.state[0], rows, own, job.h[0]);
  if (CellType::states > 1) gather(job, job.in.state[1], rows, own, job.c);
  if (job.mask) {
    gather(job, job.in.mask, rows, own, job.mask);
    for (int64_t s = rows.first; s < rows.last; ++s)
      for (int64_t j = s * padded + own.first * W; j < s * padded + own.last * W; j += W)
        store(job.masked[0] + j, load(job.h[0] + j) * load(job.mask + j));
  }
  job.barrier->wait();

  const int64_t gates_row = panels * K * W;
  for (int64_t first = 0, last = 0; first < job.steps; first = last) {
    while (last < job.steps && job.offset[last] - job.offset[first] < job.block_rows) ++last;
    T* gates = job.out.saved ? job.out.saved + job.offset[first] * gates_row : job.gates;
    multiply_input<T, CellType>(job, first, last, part, gates);
    job.barrier->wait();
    for (int64_t t = first; t < last; ++t) {
      const int64_t row = job.offset[t] - job.offset[first] + rows.first;
      step<T, CellType>(job, t, rows, own, gates + row * gates_row);
      if (job.by_neuron) job.barrier->wait();
    }
    job.barrier->wait();
  }

  for (int64_t s = rows.first; s < rows.last; ++s)
    for (int64_t j = own.first * W; j < own.last * W; j += W) {
      const int64_t to = job.order[s] * hidden + j;
      if (j >= hidden) continue;
      store_some(job.out.state[0] + to, load(job.h[job.length[s] & 1] + s * padded + j), hidden - j);
      if (CellType::states > 1) store_some(job.out.state[1] + to, load(job.c + s * padded + j), hidden - j);
    }
}

template <class T, class CellType>
int64_t layout(ForwardJob<T>& job, T* block) {
  constexpr int K = CellType::kept, W = width<T>;
  const auto [batch, time, input, hidden] = job.in.sizes;
  const int64_t panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t gates_row = panels * K * W;
  const int64_t fitting = block_bytes / (gates_row * int64_t(sizeof(T)));
  job.block_rows = fitting < least_block_rows ? least_block_rows : fitting;
  const int64_t most_rows = job.block_rows + batch < job.total ? job.block_rows + batch : job.total;
  Arena<T> arena(block);
  job.packed = job.in.packed ? nullptr : arena.take(place<T, CellType>(job.in, nullptr).size);
  // Packed weights are only read, whoever packed them.
  const Packed<T> packed =
      place<T, CellType>(job.in, job.in.packed ? const_cast<T*>(job.in.packed) : job.packed);
  job.packed_ih = packed.ih;
  job.packed_hh = packed.hh;
  job.bias = packed.bias;
  for (T*& h : job.h) h = arena.take(batch * padded);
  job.mask = job.in.mask ? arena.take(batch * padded) : nullptr;
  for (int side = 0; side < 2; ++side)
    job.masked[side] = job.in.mask ? arena.take(batch * padded) : job.h[side];
  job.c = arena.take(CellType::states > 1 ? batch * padded : 0);
  job.x = arena.take(most_rows * input);
  job.gates = arena.take(job.out.saved ? 0 : most_rows * gates_row);
  return arena.used();
}

}  // namespace

template <class T>
int64_t saved_row(Cell cell, int64_t hidden) {
  return with_cell<T>(cell, [&]<class C>() { return panels_of<T>(hidden) * C::kept * width<T>; });
}

template <class T>
int64_t packed_size(const ScanInputs<T>& in) {
  return with_cell<T>(in.cell, [&]<class C>() { return place<T, C>(in, nullptr).size; });
}

template <class T>
void pack(const ScanInputs<T>& in, T* packed) {
  const Range all = {0, panels_of<T>(in.sizes.hidden)};
  with_cell<T>(in.cell, [&]<class C>() { pack_panels<T, C>(in, all, packed); });
}

template <class T>
int64_t layout_forward(ForwardJob<T>& job, T* block) {
  return with_cell<T>(job.in.cell, [&]<class C>() { return layout<T, C>(job, block); });
}

template <class T>
void forward(const ForwardJob<T>& job, int part) {
  with_cell<T>(job.in.cell, [&]<class C>() { run<T, C>(job, part); });
}

template int64_t saved_row<float>(Cell, int64_t);
template int64_t saved_row<double>(Cell, int64_t);
template int64_t packed_size<float>(const ScanInputs<float>&);
template int64_t packed_size<double>(const ScanInputs<double>&);
template void pack<float>(const ScanInputs<float>&, float*);
template void pack<double>(const ScanInputs<double>&, double*);
template int64_t layout_forward<float>(ForwardJob<float>&, float*);
template int64_t layout_forward<double>(ForwardJob<double>&, double*);
template void forward<float>(const ForwardJob<float>&, int);
template void forward<double>(const ForwardJob<double>&, int);

}  // namespace noria::NORIA_TARGET
