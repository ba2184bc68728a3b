#include "scan.h"
#include "targets.h"

namespace noria::NORIA_TARGET {
namespace {

// Weight gradients are made in strips of `sum_rows` gate neurons, over `sum_steps` steps at a time.
constexpr int64_t sum_rows = 48, sum_steps = 256;
constexpr int64_t block_bytes = 1024 * 1024;  // what a block of steps takes: about an L2 cache
constexpr int64_t least_block_rows = 512;
constexpr int64_t input_rows = 64;  // input gradients, so many steps at a time

template <class T, class CellType>
struct Back {
  static constexpr int G = CellType::gates, S = CellType::slots, K = CellType::kept, W = width<T>;
  // The gradients of the slots feed two products: the first G that of x, the last G that of h(t-1).
  static constexpr int state_slot = S - G;
  using V = Vector<T>;

  const BackwardJob<T>& job;
  const int part;
  const Recurrence recurrence = job.in.recurrence;
  const int64_t input = job.in.sizes.input, hidden = job.in.sizes.hidden;
  const int64_t panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t input_panels = panels_of<T>(input), padded_input = input_panels * W;
  const int64_t columns = S * padded, strips = (columns + sum_rows - 1) / sum_rows;
  const int64_t strip_sums = sum_rows * (1 + padded_input + padded);
  const Range rows = rows_of(job, part), own = panels_of(job, part);
  int64_t first_step = 0, last_step = 0;  // the block's, in time
  int64_t base = 0, count = 0;            // its steps of all rows: job.offset[first_step] and how many

  // weight (G * H, columns) → (column panels, G * Hp, W): row `slot * Hp + j` is gate gate_of[slot] of j.
  void pack(const T* weight, int64_t columns, int first_slot, T* packed) {
    const int64_t depth = G * padded;
    const Range mine = share(depth, part, job.parts);
    for (int64_t k = mine.first; k < mine.last; ++k) {
      const int64_t j = k % padded;
      const int gate = CellType::gate_of[first_slot + k / padded];
      pack_row(j < hidden ? weight + (gate * hidden + j) * columns : nullptr, columns, k, depth, packed);
    }
  }

  // The block's inputs and states before each step, as the panels of the weight gradients' products.
  void pack_steps() {
    const Range mine = share(last_step - first_step, part, job.parts);
    const int64_t stride = job.room_rows;
    for (int64_t t = first_step + mine.first; t < first_step + mine.last; ++t)
      for (int64_t s = 0; s < job.active[t]; ++s) {
        const int64_t step = job.offset[t] - base + s;
        pack_row(job.in.x + job.at(s, t) * input, input, step, stride, job.inputs);
        const T* h = t > 0 ? job.y + job.at(s, t - 1) * hidden : job.in.state[0] + job.order[s] * hidden;
        pack_row(h, hidden, step, stride, job.before);
        if (!job.mask) continue;
        const T* mask = job.in.mask + job.order[s] * hidden;
        for (int64_t j = 0; j < hidden; j += W)
          store(job.operand + j * stride + step * W,
                load(job.before + j * stride + step * W) * load_some(mask + j, hidden - j));
      }
  }

  void start() {
    pack(job.in.weight_ih, input, 0, job.packed_ih);
    if (recurrence == Recurrence::dense) pack(job.in.weight_hh, hidden, state_slot, job.packed_hh);
    if (recurrence == Recurrence::diagonal)
      pack_diagonal<T, CellType>(job.in.weight_hh, hidden, share(panels, part, job.parts), job.packed_hh);
    for (int k = 0; k < CellType::states; ++k) gather(job, job.grad_state[k], rows, own, job.d_state[k]);
    if (job.mask) gather(job, job.in.mask, rows, own, job.mask);
  }

  // Gradients of the gates of one neuron vector at one step; d_state moves from after to before the step.
  void cell(int64_t t, int64_t s, int64_t panel) {
    const int64_t step = job.offset[t] + s, j = panel * W, at = s * padded + j;
    const T* kept = job.saved + (step * panels + panel) * K * W;
    V saved[K], before[CellType::states], d_state[CellType::states], d_a[S];
    for (int k = 0; k < K; ++k) saved[k] = load(kept + k * W);
    before[0] = load(job.before + j * job.room_rows + (step - base) * W);
    if constexpr (CellType::states > 1) {
      const int64_t earlier = t > 0 ? job.offset[t - 1] + s : 0;
      before[1] = t > 0 ? load(job.saved + ((earlier * panels + panel) * K + S) * W)
                        : load_some(job.in.state[1] + job.order[s] * hidden + j, hidden - j);
    }
    for (int k = 0; k < CellType::states; ++k) d_state[k] = load(job.d_state[k] + at);
    d_state[0] = d_state[0] + load_some(job.grad_y + job.at(s, t) * hidden + j, hidden - j);
    CellType::backward(saved, before, d_state, d_a);
    if (recurrence == Recurrence::diagonal) {
      V sum = {};
      for (int g = 0; g < G; ++g)
        sum = fma(d_a[state_slot + g], load(job.packed_hh + (panel * G + g) * W), sum);
      d_state[0] = d_state[0] + (job.mask ? sum * load(job.mask + at) : sum);
    }
    for (int k = 0; k < CellType::states; ++k) store(job.d_state[k] + at, d_state[k]);
    for (int g = 0; g < S; ++g) {
      T* to = job.d_a + ((step - base) * S + g) * padded + j;
      store(to, d_a[g]);
      // Padding meets weights of zero, which an infinite input would turn into NaN.
      for (int64_t i = hidden - j; i < W; ++i) to[i] = 0;
    }
  }

  // d_h(t-1) += R ᵀ · d_a(t), times the mask.
  void multiply_state(int64_t t, int64_t running_rows) {
    T* d_h = job.d_state[0] + rows.first * padded;
    T* sum = job.mask ? job.product + rows.first * padded : d_h;
    T nothing[W] = {};
    const Product<T> product = {
        .depth = G * padded,
        .a = job.d_a + ((job.offset[t] - base + rows.first) * S + state_slot) * padded,
        .a_row = S * padded,
        .w = job.packed_hh,
        .w_panel = G * padded * W,
        .start = job.mask ? nothing : d_h,
        .start_row = job.mask ? 0 : padded,
        .start_panel = job.mask ? 0 : W,
        .c = sum,
        .c_row = padded,
        .c_panel = W};
    multiply<T, 1>(product, running_rows, own.first, own.last);
    if (!job.mask) return;
    const T* mask = job.mask + rows.first * padded;
    for (int64_t i = 0; i < running_rows; ++i)
      for (int64_t j = i * padded + own.first * W; j < i * padded + own.last * W; j += W)
        store(d_h + j, fma(load(mask + j), load(sum + j), load(d_h + j)));
  }

  void go_back() {
    for (int64_t t = last_step - 1; t >= first_step; --t) {
      const int64_t running_rows = running(job, rows, t);
      for (int64_t s = rows.first; s < rows.first + running_rows; ++s)
        for (int64_t panel = own.first; panel < own.last; ++panel) cell(t, s, panel);
      if (recurrence != Recurrence::dense) continue;
      if (job.by_neuron) job.barrier->wait();
      multiply_state(t, running_rows);
    }
  }

  // d_x = W_ih ᵀ · d_a for this part's steps of the block.
  void multiply_input(T* room) {
    const Range mine = share(count, part, job.parts);
    T nothing[W] = {};
    int64_t t = first_step;
    for (int64_t first = mine.first; first < mine.last; first += input_rows) {
      const int64_t steps = mine.last - first < input_rows ? mine.last - first : input_rows;
      const Product<T> product = {.depth = G * padded,
                                  .a = job.d_a + first * S * padded,
                                  .a_row = S * padded,
                                  .w = job.packed_ih,
                                  .w_panel = G * padded * W,
                                  .start = nothing,
                                  .start_row = 0,
                                  .start_panel = 0,
                                  .c = room,
                                  .c_row = padded_input,
                                  .c_panel = W};
      multiply<T, 1>(product, steps, 0, input_panels);
      for (int64_t i = 0; i < steps; ++i) {
        const int64_t step = base + first + i;
        while (job.offset[t + 1] <= step) ++t;
        memcpy(job.out.x + job.at(step - job.offset[t], t) * input, room + i * padded_input,
               size_t(input) * sizeof(T));
      }
    }
  }

  static Range overlap(Range a, Range b) {
    const int64_t first = a.first > b.first ? a.first : b.first, last = a.last < b.last ? a.last : b.last;
    return {first, last > first ? last : first};
  }

  // The columns of d_a in a strip, and those that feed the product with the inputs or with the states.
  Range strip_columns(int64_t strip) const {
    return overlap({strip * sum_rows, (strip + 1) * sum_rows}, {0, columns});
  }
  Range input_columns(int64_t strip) const { return overlap(strip_columns(strip), {0, G * padded}); }
  Range state_columns(int64_t strip) const {
    return overlap(strip_columns(strip), {state_slot * padded, columns});
  }

  // sums (sum_rows, panels * W) += d_aᵀ · factor over some steps of the block from `first`; d_a is packed
  // (steps, sum_rows), and the factor (panels, N, W).
  void add_products(Range some, int64_t strip, const T* packed, int64_t first, int64_t steps, const T* factor,
                    int64_t factor_panels, T* sums) {
    T* to = sums + (some.first - strip * sum_rows) * factor_panels * W;
    const Product<T> product = {.depth = steps,
                                .a = packed + (some.first - strip * sum_rows),
                                .a_row = sum_rows,
                                .w = factor + first * W,
                                .w_panel = job.room_rows * W,
                                .start = to,
                                .start_row = factor_panels * W,
                                .start_panel = W,
                                .c = to,
                                .c_row = factor_panels * W,
                                .c_panel = W};
    multiply<T, 1, true>(product, some.last - some.first, 0, factor_panels);
  }

  // Copies a strip's sums to their rows of the gradients, padding left out.
  void hand_over(Range some, int64_t strip, const T* sums, int64_t width, int64_t padded_width, T* gradient) {
    for (int64_t column = some.first; column < some.last; ++column)
      if (const int64_t j = column % padded; j < hidden)
        memcpy(gradient + (CellType::gate_of[column / padded] * hidden + j) * width,
               sums + (column - strip * sum_rows) * padded_width, size_t(width) * sizeof(T));
  }

  // Adds the block's share to a strip's sums, and hands them over after the last: (sum_rows) of biases,
  // (sum_rows, Ip) of W_ih, (sum_rows, Hp) of W_hh.
  void sum_weights(int64_t strip, T* packed) {
    T* bias = job.sums + (job.one_block ? part : strip) * strip_sums;
    T* ih = bias + sum_rows;
    T* hh = ih + sum_rows * padded_input;
    const Range mine = strip_columns(strip);
    if (last_step == job.steps) memset(bias, 0, size_t(strip_sums) * sizeof(T));
    for (int64_t first = 0; first < count; first += sum_steps) {
      const int64_t steps = count - first < sum_steps ? count - first : sum_steps;
      for (int64_t i = 0; i < steps; ++i) {
        const T* from = job.d_a + (first + i) * columns + mine.first;
        for (int64_t m = 0; m < mine.last - mine.first; m += W) {
          const V d_a = load(from + m);
          store(packed + i * sum_rows + m, d_a);
          store(bias + m, load(bias + m) + d_a);
        }
      }
      add_products(input_columns(strip), strip, packed, first, steps, job.inputs, input_panels, ih);
      if (recurrence == Recurrence::dense)
        add_products(state_columns(strip), strip, packed, first, steps, job.operand, panels, hh);
    }
    if (first_step > 0) return;
    hand_over(input_columns(strip), strip, bias, 1, 1, job.out.bias_ih);
    hand_over(state_columns(strip), strip, bias, 1, 1, job.out.bias_hh);
    hand_over(input_columns(strip), strip, ih, input, padded_input, job.out.weight_ih);
    if (recurrence == Recurrence::dense)
      hand_over(state_columns(strip), strip, hh, hidden, padded, job.out.weight_hh);
  }

  void sum_diagonal() {
    const Range mine = share(panels, part, job.parts);
    for (int64_t panel = mine.first; panel < mine.last; ++panel)
      for (int g = 0; g < G; ++g) {
        const int64_t j = panel * W;
        T* gradient = job.out.weight_hh + CellType::gate_of[state_slot + g] * hidden + j;
        V sum = last_step < job.steps ? load_some(gradient, hidden - j) : V{};
        for (int64_t step = 0; step < count; ++step)
          sum = fma(load(job.d_a + (step * S + state_slot + g) * padded + j),
                    load(job.operand + (panel * job.room_rows + step) * W), sum);
        store_some(gradient, sum, hidden - j);
      }
  }

  void run_block(T* room) {
    base = job.offset[first_step];
    count = job.offset[last_step] - base;
    pack_steps();
    job.barrier->wait();
    go_back();
    job.barrier->wait();
    multiply_input(room);
    for (int64_t strip = part; strip < strips; strip += job.parts) sum_weights(strip, room);
    if (recurrence == Recurrence::diagonal) sum_diagonal();
    job.barrier->wait();
  }

  void hand_over_states() {
    for (int k = 0; k < CellType::states; ++k)
      for (int64_t s = rows.first; s < rows.last; ++s)
        for (int64_t j = own.first * W; j < own.last * W && j < hidden; j += W)
          store_some(job.out.state[k] + job.order[s] * hidden + j, load(job.d_state[k] + s * padded + j),
                     hidden - j);
  }

  void run() {
    T* room = job.room + part * job.part_room;
    start();
    job.barrier->wait();
    last_step = job.steps;
    do {
      first_step = last_step > 0 ? last_step - 1 : 0;
      while (first_step > 0 && job.offset[last_step] - job.offset[first_step] < job.block_rows) --first_step;
      run_block(room);
      last_step = first_step;
    } while (last_step > 0);
    hand_over_states();
  }
};

template <class T, class CellType>
int64_t layout(BackwardJob<T>& job, T* block) {
  constexpr int G = CellType::gates, S = CellType::slots, W = width<T>;
  const auto [batch, time, input, hidden] = job.in.sizes;
  const int64_t padded = panels_of<T>(hidden) * W, padded_input = panels_of<T>(input) * W;
  // From sizes without padding: the order of the sums must not depend on the target.
  const int64_t fitting = block_bytes / ((S * hidden + hidden + input) * int64_t(sizeof(T)));
  job.block_rows = fitting < least_block_rows ? least_block_rows : fitting;
  job.room_rows = job.block_rows + batch < job.total ? job.block_rows + batch : job.total;
  Arena<T> arena(block);
  job.packed_ih = arena.take(padded_input * G * padded);
  job.packed_hh = arena.take(G * padded * (job.in.recurrence == Recurrence::dense ? padded : 1));
  job.inputs = arena.take(padded_input * job.room_rows);
  job.before = arena.take(padded * job.room_rows);
  job.operand = job.in.mask ? arena.take(padded * job.room_rows) : job.before;
  job.mask = job.in.mask ? arena.take(batch * padded) : nullptr;
  job.product = job.in.mask ? arena.take(batch * padded) : nullptr;
  for (int k = 0; k < CellType::states; ++k) job.d_state[k] = arena.take(batch * padded);
  job.d_a = arena.take(job.room_rows * S * padded);
  const int64_t strips = (S * padded + sum_rows - 1) / sum_rows;
  job.one_block = job.total <= job.block_rows;
  job.sums = arena.take((job.one_block ? job.parts : strips) * sum_rows * (1 + padded_input + padded));
  const int64_t weights = sum_rows * sum_steps, inputs = input_rows * padded_input;
  job.part_room = ((weights > inputs ? weights : inputs) + 15) / 16 * 16;
  job.room = arena.take(job.part_room * job.parts);
  return arena.used();
}

}  // namespace

template <class T>
int64_t layout_backward(BackwardJob<T>& job, T* block) {
  return with_cell<T>(job.in.cell, [&]<class C>() { return layout<T, C>(job, block); });
}

template <class T>
void backward(const BackwardJob<T>& job, int part) {
  with_cell<T>(job.in.cell, [&]<class C>() { Back<T, C>{job, part}.run(); });
}

template int64_t layout_backward<float>(BackwardJob<float>&, float*);
template int64_t layout_backward<double>(BackwardJob<double>&, double*);
template void backward<float>(const BackwardJob<float>&, int);
template void backward<double>(const BackwardJob<double>&, int);

}  // namespace noria::NORIA_TARGET
