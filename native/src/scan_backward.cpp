#include "scan.h"
#include "targets.h"

namespace noria::NORIA_TARGET {
namespace {

// Weight gradients are made in strips of `sum_rows` gate neurons, over `sum_steps` steps at a time.
constexpr int64_t sum_rows = 24, sum_steps = 512;
constexpr int64_t block_bytes = 1024 * 1024;  // what a block of steps takes: about an L2 cache
constexpr int64_t least_block_rows = 512;
constexpr int64_t rows_of_norm = 16;  // whose gradients stay in the cache on their way through a norm
constexpr int64_t input_rows = 64;    // input gradients, so many steps at a time

// The steps of a block.
struct Block {
  int64_t first_step, last_step;  // in time
  int64_t base, count;            // of all rows: job.offset[first_step] and how many
};

// The numbers of a cell. The gradients of its slots feed two products: the first G that of the input, the
// last G that of h(t-1).
template <class T, class CellType>
struct Numbers {
  static constexpr int G = CellType::gates, S = CellType::slots, K = CellType::kept, state_slot = S - G;
};

template <class T>
struct Numbers<T, Own<T>> {
  const int G, S, K, state_slot;
};

template <class CellType, class T>
NORIA_INLINE Numbers<T, CellType> numbers_of(const LayerInputs<T>& in) {
  if constexpr (built_in<CellType>)
    return {};
  else
    return {in.own->gates, in.own->slots, in.own->kept, in.own->slots - in.own->gates};
}

// A part's share of one layer.
template <class T, class CellType>
struct Back : Numbers<T, CellType> {
  using Base = Numbers<T, CellType>;
  using Base::G, Base::S, Base::K, Base::state_slot;
  static constexpr int W = width<T>;
  using V = Vector<T>;

  const BackwardJob<T>& job;
  const int64_t index;
  const int part;
  const BackwardLayer<T>& layer = job.layers[index];
  const CellType cell_type = cell_of<CellType>(layer.in);
  const int64_t input = layer.in.input, hidden = layer.in.hidden;
  const int64_t panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t input_panels = panels_of<T>(input), padded_input = input_panels * W;

  int64_t columns() const { return S * padded; }
  Range rows() const { return rows_of(job, part); }
  Range own() const { return panels_of<T>(job, hidden, part); }

  // Of weight gradients and biases, for a strip.
  int64_t strip_sums() const {
    int64_t factors = padded_input;
    for (int64_t b = 0; b < layer.in.block_count; ++b) {
      const RecurrentBlock<T>& block = layer.in.blocks[b];
      if (block.recurrence == Recurrence::dense) factors += panels_of<T>(block.size) * W;
    }
    return sum_rows * (1 + factors);
  }

  // Rows of W from one packed panel to the next: a cache line more than it has, lest all panels share a set.
  int64_t stride() const { return G * padded + 64 / vector_bytes; }

  // From one step's gradients to the next, a cache line more than they are for the same reason.
  int64_t d_a_row() const { return columns() + 64 / int64_t(sizeof(T)); }

  // Elements of a packed block.
  int64_t packed_block(const RecurrentBlock<T>& block) const {
    return block.recurrence == Recurrence::dense ? stride() * panels_of<T>(block.size) * W : G * padded;
  }

  // weight (G * H, columns) → (column panels, stride(), W): row `slot * Hp + j` is gate gate_of[slot] of j.
  void pack(const T* weight, int64_t columns, int first_slot, T* packed) const {
    const Range mine = share(G * padded, part, job.parts);
    for (int64_t k = mine.first; k < mine.last; ++k) {
      const int64_t j = k % padded;
      const int gate = cell_type.gate_of[first_slot + k / padded];
      pack_row(j < hidden ? weight + (gate * hidden + j) * columns : nullptr, columns, k, stride(), packed);
    }
  }

  void start() const {
    pack(layer.in.weight_ih, input, 0, layer.packed_ih);
    T* packed = layer.packed_hh;
    for (int64_t b = 0; b < layer.in.block_count; ++b) {
      const RecurrentBlock<T>& block = layer.in.blocks[b];
      if (block.recurrence == Recurrence::dense)
        pack(block.weight, block.size, state_slot, packed);
      else
        pack_diagonal(cell_type, block.weight, hidden, share(panels, part, job.parts), packed);
      packed += packed_block(block);
    }
    if (layer.norm) pack_norm(cell_type, layer.in, share(panels, part, job.parts), layer.norm);
    if constexpr (!built_in<CellType>) start_own();
    for (int k = 0; k < cell_type.states; ++k)
      gather(job, layer.grad_state[k], hidden, rows(), own(), layer.d_state[k]);
    if (layer.mask) gather(job, layer.in.recurrent_mask, hidden, rows(), own(), layer.mask);
    if (layer.input_mask)
      gather(job, layer.in.input_mask, input, rows(), panels_of<T>(job, input, part), layer.input_mask);
  }

  // A packed row times a row of a mask.
  NORIA_INLINE void mask_row(const T* mask, int64_t columns, int64_t step, const T* from, T* to) const {
    const int64_t stride = job.room_rows;
    for (int64_t j = 0; j < columns; j += W)
      store(to + j * stride + step * W,
            load(from + j * stride + step * W) * load_some(mask + j, columns - j));
  }

  // The block's inputs and states before each step, as the panels of the weight gradients' products.
  void pack_steps(const Block& block) const {
    const Range mine = share(block.last_step - block.first_step, part, job.parts);
    const int64_t stride = job.room_rows;
    const T* x = index ? job.layers[index - 1].y : job.x;
    for (int64_t t = block.first_step + mine.first; t < block.first_step + mine.last; ++t)
      for (int64_t s = 0; s < job.active[t]; ++s) {
        const int64_t step = job.offset[t] - block.base + s, row = job.order[s];
        pack_row(x + job.at(s, t) * input, input, step, stride, layer.inputs);
        if (layer.input_mask)
          mask_row(layer.in.input_mask + row * input, input, step, layer.inputs, layer.inputs);
        const T* h = t > 0 ? layer.y + job.at(s, t - 1) * hidden : layer.in.state[0] + row * hidden;
        pack_row(h, hidden, step, stride, layer.before);
        if (layer.mask)
          mask_row(layer.in.recurrent_mask + row * hidden, hidden, step, layer.before, layer.operand);
      }
  }

  // Gradients of the gates of the running rows and this part's panels at one step; d_state moves from after
  // to before the step.
  void step_cell(const Block& block, int64_t t, Range rows, Range own) const {
    const BackwardLayer<T> layer = this->layer;  // a copy, which what is stored cannot change
    const int64_t hidden = this->hidden, panels = this->panels, padded = this->padded,
                  d_a_row = this->d_a_row();
    const int64_t room_rows = job.room_rows;
    const bool carries_state = layer.in.carries_state;
    for (int64_t s = rows.first; s < rows.last; ++s) {
      const int64_t step = job.offset[t] + s, row = job.order[s];
      const T* kept = layer.saved + step * panels * K * W;
      // The cell's second state before the step.
      const T* earlier = t > 0 ? layer.saved + (job.offset[t - 1] + s) * panels * K * W + S * W : nullptr;
      const T* grad_y = layer.grad_y ? layer.grad_y + job.at(s, t) * hidden : nullptr;
      // Rows lie far apart in memory.
      const T* next_grad_y = grad_y && s + 1 < rows.last ? layer.grad_y + job.at(s + 1, t) * hidden : grad_y;
      T* d_a_of_step = layer.d_norm + (step - block.base) * d_a_row;
      for (int64_t panel = own.first; panel < own.last; ++panel) {
        const int64_t j = panel * W, at = s * padded + j;
        V saved[CellType::kept], before[CellType::states] = {}, d_state[CellType::states],
                                 d_a[CellType::slots];
        for (int k = 0; k < K; ++k) saved[k] = load(kept + (panel * K + k) * W);
        if (carries_state) {
          before[0] = load(layer.before + j * room_rows + (step - block.base) * W);
          if constexpr (CellType::states > 1)
            before[1] = earlier ? load(earlier + panel * K * W)
                                : load_some(layer.in.state[1] + row * hidden + j, hidden - j);
        }
        for (int k = 0; k < CellType::states; ++k) d_state[k] = load(layer.d_state[k] + at);
        if (grad_y) {
          d_state[0] = d_state[0] + load_some(grad_y + j, hidden - j);
          __builtin_prefetch(next_grad_y + j);
        }
        CellType::backward(saved, before, d_state, d_a);
        if (!carries_state)
          for (V& d : d_state) d = V{};
        if (layer.diagonal && !layer.norm) {
          V sum = {};
          for (int g = 0; g < G; ++g)
            sum = fma(d_a[state_slot + g], load(layer.diagonal + (panel * G + g) * W), sum);
          d_state[0] = d_state[0] + (layer.mask ? sum * load(layer.mask + at) : sum);
        }
        for (int k = 0; k < CellType::states; ++k) store(layer.d_state[k] + at, d_state[k]);
        for (int g = 0; g < S; ++g) {
          T* to = d_a_of_step + g * padded + j;
          store(to, d_a[g]);
          // Padding meets weights of zero, which an infinite input would turn into NaN.
          for (int64_t i = hidden - j; i < W; ++i) to[i] = 0;
        }
      }
    }
  }

  // As step_cell(), for an own cell: its running rows and this part's panels at one step.
  void step_own(const Block& block, int64_t t, Range rows, Range own) const {
    const int64_t count = rows.last - rows.first, parameters = parameters_of(layer.in);
    if (count == 0 || own.last == own.first) return;
    const int64_t step = job.offset[t] + rows.first - block.base, first = rows.first * padded + own.first * W;
    if (layer.grad_y)
      for (int64_t s = rows.first; s < rows.last; ++s)
        for (int64_t j = own.first * W; j < own.last * W; j += W) {
          T* d_h = layer.d_state[0] + s * padded + j;
          store(d_h, load(d_h) + load_some(layer.grad_y + job.at(s, t) * hidden + j, hidden - j));
        }
    OwnBackward<T> tile{};
    tile.rows = count, tile.panels = own.last - own.first;
    tile.kept = layer.saved + ((block.base + step) * panels + own.first) * K * W,
    tile.kept_row = panels * K * W;
    tile.parameters = layer.parameters + own.first * parameters * W;
    tile.d_a = layer.d_norm + step * d_a_row() + own.first * W;
    tile.d_a_row = d_a_row(), tile.d_a_slot = padded;
    tile.d_parameters = layer.d_parameters + step * parameters * padded + own.first * W;
    tile.d_parameters_row = parameters * padded, tile.d_parameters_slot = padded;
    tile.d_state_row = padded;
    for (int k = 0; k < cell_type.states; ++k) {
      tile.d_state[k] = layer.d_state[k] + first;
      const auto read = [&](const T* from, int64_t row, int64_t panel) {
        tile.before[k] = from, tile.before_row[k] = row, tile.before_panel[k] = panel;
      };
      if (!layer.in.carries_state)
        read(layer.zeros + first, padded, W);
      else if (k == 0)
        read(layer.before + own.first * W * job.room_rows + step * W, W, job.room_rows * W);
      else if (t == 0)
        read(layer.first_states[k] + first, padded, W);
      else
        read(layer.saved +
                 (((job.offset[t - 1] + rows.first) * panels + own.first) * K + K - cell_type.states + k) * W,
             panels * K * W, K * W);
    }
    cell_type.code.backward(tile);
    for (int64_t s = rows.first; s < rows.last; ++s)
      for (int64_t panel = own.first; panel < own.last; ++panel) finish_own(step + s - rows.first, s, panel);
  }

  // What step_cell() does after the cell itself.
  NORIA_INLINE void finish_own(int64_t step, int64_t s, int64_t panel) const {
    const int64_t j = panel * W, at = s * padded + j;
    T* d_a = layer.d_norm + step * d_a_row() + j;
    if (!layer.in.carries_state)
      for (int k = 0; k < cell_type.states; ++k) store(layer.d_state[k] + at, V{});
    if (layer.diagonal && !layer.norm) feed_itself(step, s, panel);
    for (int g = 0; g < S && hidden - j < W; ++g)
      for (int64_t i = hidden - j; i < W; ++i) d_a[g * padded + i] = 0;
  }

  // d_h of a neuron that hears itself alone += R · d_a.
  NORIA_INLINE void feed_itself(int64_t step, int64_t s, int64_t panel) const {
    const T* d_a = layer.d_a + step * d_a_row() + state_slot * padded + panel * W;
    V sum = {};
    for (int g = 0; g < G; ++g)
      sum = fma(load(d_a + g * padded), load(layer.diagonal + (panel * G + g) * W), sum);
    const int64_t at = s * padded + panel * W;
    T* d_h = layer.d_state[0] + at;
    store(d_h, load(d_h) + (layer.mask ? sum * load(layer.mask + at) : sum));
  }

  // A row of the block as the way forward left it.
  NORIA_INLINE NormRow<T> norm_row(const Block& block, int64_t step) const {
    return {hidden, S, layer.before_norm + (block.base + step) * S * padded, layer.norm};
  }
  NORIA_INLINE void read_statistics(const Block& block, int64_t step, int slot, int count,
                                    Statistics<T>* to) const {
    memcpy(to, layer.statistics + ((block.base + step) * S + slot) * 2, size_t(count) * sizeof *to);
  }

  // From the gradients of what the norm gave to those of the sums, for some rows and panels of a step.
  void go_through_norm(const Block& block, int64_t t, Range rows, Range own) const {
    for (int64_t s = rows.first; s < rows.last; ++s) {
      const int64_t step = job.offset[t] + s - block.base, at = step * d_a_row();
      with_slots(cell_type, [&]<int N>(int slot) {
        Statistics<T> of[N];
        read_statistics(block, step, slot, N, of);
        norm_row(block, step)
            .template back<N>(slot, of, layer.d_norm + at, padded, own.first, own.last, layer.d_a + at);
      });
      for (int64_t panel = own.first; layer.diagonal && panel < own.last; ++panel)
        feed_itself(step, s, panel);
    }
  }

  // Gradients of gains and, in the place of sum_strip(), of biases.
  void sum_norm(const Block& block) const {
    const Range mine = share(panels, part, job.parts);
    const bool goes_on = block.last_step < job.steps;
    for (int64_t panel = mine.first; panel < mine.last; ++panel) {
      const int64_t j = panel * W;
      with_slots(cell_type, [&]<int N>(int first) {
        V gain[N], bias[N];
        const auto bias_at = [&](int slot) {
          T* to = slot < G ? layer.out.bias_ih : layer.out.bias_hh;
          return to ? to + cell_type.gate_of[slot] * hidden + j : nullptr;
        };
        for (int n = 0; n < N; ++n) {
          const T* sum = bias_at(first + n);
          gain[n] = goes_on ? load_some(layer.out.weight_norm + (first + n) * hidden + j, hidden - j) : V{};
          bias[n] = goes_on && sum ? load_some(sum, hidden - j) : V{};
        }
        for (int64_t step = 0; step < block.count; ++step) {
          const NormRow<T> row = norm_row(block, step);
          Statistics<T> of[N];
          read_statistics(block, step, first, N, of);
          for (int n = 0; n < N; ++n) {
            const V d = load(layer.d_norm + step * d_a_row() + (first + n) * padded + j);
            gain[n] = fma(d, row.normal(panel, first + n, of[n]), gain[n]);
            bias[n] = bias[n] + d;
          }
        }
        for (int n = 0; n < N; ++n) {
          const int slot = first + n;
          store_some(layer.out.weight_norm + slot * hidden + j, gain[n], hidden - j);
          if (T* to = bias_at(slot)) store_some(to, bias[n], hidden - j);
          if (slot >= state_slot && slot < G && layer.out.bias_hh)
            store_some(layer.out.bias_hh + cell_type.gate_of[slot] * hidden + j, bias[n], hidden - j);
        }
      });
    }
  }

  void start_own() const {
    pack_parameters(layer.in, share(panels, part, job.parts), layer.parameters);
    for (int k = 1; k < cell_type.states; ++k)
      gather(job, layer.in.state[k], hidden, rows(), own(), layer.first_states[k]);
    if (layer.zeros) gather(job, static_cast<const T*>(nullptr), hidden, rows(), own(), layer.zeros);
  }

  void lay_out_own(Arena<T>& arena) const {
    BackwardLayer<T>& layer = job.layers[index];
    const int64_t states = job.batch * padded, parameters = parameters_of(layer.in) * padded;
    layer.parameters = arena.take(parameters);
    layer.d_parameters = arena.take(job.room_rows * parameters);
    for (int k = 1; k < cell_type.states; ++k) layer.first_states[k] = arena.take(states);
    layer.zeros = layer.in.carries_state ? nullptr : arena.take(states);
  }

  void sum_parameters(const Block& block) const {
    const Range mine = share(panels, part, job.parts);
    const int64_t count = parameters_of(layer.in);
    for (int64_t panel = mine.first; panel < mine.last; ++panel)
      for (int64_t p = 0; p < count; ++p) {
        const int64_t j = panel * W;
        T* gradient = layer.out.parameters + p * hidden + j;
        V sum = block.last_step < job.steps ? load_some(gradient, hidden - j) : V{};
        for (int64_t step = 0; step < block.count; ++step)
          sum = sum + load(layer.d_parameters + (step * count + p) * padded + j);
        store_some(gradient, sum, hidden - j);
      }
  }

  void step(const Block& block, int64_t t) const {
    const Range rows = this->rows(), own = this->own();
    const int64_t last = rows.first + running(job, rows, t);
    const int64_t some = layer.norm && !job.by_neuron ? rows_of_norm : job.batch;
    for (int64_t first = rows.first; first < last; first += some) {
      const Range these = {first, first + some < last ? first + some : last};
      if constexpr (built_in<CellType>)
        step_cell(block, t, these, own);
      else
        step_own(block, t, these, own);
      if (layer.norm && !job.by_neuron) go_through_norm(block, t, these, own);
    }
    if (!layer.norm || !job.by_neuron) return;
    job.barrier->wait();
    go_through_norm(block, t, {rows.first, last}, own);
  }

  // d_h of the layer that a product read += weightᵀ · d_a(t), times the mask (B, Hp) in between or null.
  void give_back(const Block& block, int64_t t, int first_slot, const T* packed,
                 const BackwardLayer<T>& source, const T* mask) const {
    const Range rows = this->rows();
    const Range own = panels_of<T>(job, source.in.hidden, part);
    const int64_t padded_source = panels_of<T>(source.in.hidden) * W, first = rows.first * padded_source;
    const int64_t running_rows = running(job, rows, t);
    T* d_h = source.d_state[0] + first;
    T* sum = mask ? source.product + first : d_h;
    T nothing[W] = {};
    const Product<T> product = {
        .depth = G * padded,
        .a = layer.d_a + (job.offset[t] - block.base + rows.first) * d_a_row() + first_slot * padded,
        .a_row = d_a_row(),
        .w = packed,
        .w_panel = stride() * W,
        .start = mask ? nothing : d_h,
        .start_row = mask ? 0 : padded_source,
        .start_panel = mask ? 0 : W,
        .c = sum,
        .c_row = padded_source,
        .c_panel = W};
    multiply<T, 1>(product, running_rows, own.first, own.last);
    if (!mask) return;
    for (int64_t i = 0; i < running_rows; ++i)
      for (int64_t j = i * padded_source + own.first * W; j < i * padded_source + own.last * W; j += W)
        store(d_h + j, fma(load(mask + first + j), load(sum + j), load(d_h + j)));
  }

  // To h(t) of the layer below.
  void hand_down(const Block& block, int64_t t) const {
    give_back(block, t, 0, layer.packed_ih, job.layers[index - 1], layer.input_mask);
  }

  // To h(t-1) of every source.
  void feed_back(const Block& block, int64_t t) const {
    const T* packed = layer.packed_hh;
    for (int64_t b = 0; b < layer.in.block_count; ++b) {
      const RecurrentBlock<T>& from = layer.in.blocks[b];
      const BackwardLayer<T>& source = job.layers[from.source];
      if (from.recurrence == Recurrence::dense) give_back(block, t, state_slot, packed, source, source.mask);
      packed += packed_block(from);
    }
  }

  // d_x = W_ih ᵀ · d_a for this part's steps of the block.
  void multiply_input(const Block& block, T* room) const {
    const Range mine = share(block.count, part, job.parts);
    T nothing[W] = {};
    int64_t t = block.first_step;
    for (int64_t first = mine.first; first < mine.last; first += input_rows) {
      const int64_t steps = mine.last - first < input_rows ? mine.last - first : input_rows;
      const Product<T> product = {.depth = G * padded,
                                  .a = layer.d_a + first * d_a_row(),
                                  .a_row = d_a_row(),
                                  .w = layer.packed_ih,
                                  .w_panel = stride() * W,
                                  .start = nothing,
                                  .start_row = 0,
                                  .start_panel = 0,
                                  .c = room,
                                  .c_row = padded_input,
                                  .c_panel = W};
      multiply<T, 1>(product, steps, 0, input_panels);
      for (int64_t i = 0; i < steps; ++i) {
        const int64_t step = block.base + first + i;
        while (job.offset[t + 1] <= step) ++t;
        memcpy(job.d_x + job.at(step - job.offset[t], t) * input, room + i * padded_input,
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
    return overlap({strip * sum_rows, (strip + 1) * sum_rows}, {0, columns()});
  }
  Range input_columns(int64_t strip) const { return overlap(strip_columns(strip), {0, G * padded}); }
  Range state_columns(int64_t strip) const {
    return overlap(strip_columns(strip), {state_slot * padded, columns()});
  }

  // sums (sum_rows, panels * W) += d_aᵀ · factor over some steps of the block from `first`; d_a is packed
  // (steps, sum_rows), and the factor (panels, N, W).
  void add_products(Range some, int64_t strip, const T* packed, int64_t first, int64_t steps, const T* factor,
                    int64_t factor_panels, T* sums) const {
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
  void hand_over(Range some, int64_t strip, const T* sums, int64_t width, int64_t padded_width,
                 T* gradient) const {
    for (int64_t column = some.first; column < some.last; ++column)
      if (const int64_t j = column % padded; j < hidden)
        memcpy(gradient + (cell_type.gate_of[column / padded] * hidden + j) * width,
               sums + (column - strip * sum_rows) * padded_width, size_t(width) * sizeof(T));
  }

  // Adds the block's share to a strip's sums, and hands them over after the last: (sum_rows) of biases,
  // (sum_rows, Ip) of W_ih, (sum_rows, Kp) of every dense R.
  void sum_strip(const Block& block, int64_t strip, T* packed) const {
    T* bias = layer.sums + (job.one_block ? part : strip) * strip_sums();
    T* ih = bias + sum_rows;
    const Range mine = strip_columns(strip);
    if (block.last_step == job.steps) memset(bias, 0, size_t(strip_sums()) * sizeof(T));
    for (int64_t first = 0; first < block.count; first += sum_steps) {
      const int64_t steps = block.count - first < sum_steps ? block.count - first : sum_steps;
      for (int64_t i = 0; i < steps; ++i) {
        const T* from = layer.d_a + (first + i) * d_a_row() + mine.first;
        for (int64_t m = 0; m < mine.last - mine.first; m += W) {
          const V d_a = load(from + m);
          store(packed + i * sum_rows + m, d_a);
          store(bias + m, load(bias + m) + d_a);
        }
      }
      add_products(input_columns(strip), strip, packed, first, steps, layer.inputs, input_panels, ih);
      T* hh = ih + sum_rows * padded_input;
      for (int64_t b = 0; b < layer.in.block_count; ++b) {
        const RecurrentBlock<T>& from = layer.in.blocks[b];
        if (from.recurrence != Recurrence::dense) continue;
        const int64_t source_panels = panels_of<T>(from.size);
        add_products(state_columns(strip), strip, packed, first, steps, job.layers[from.source].operand,
                     source_panels, hh);
        hh += sum_rows * source_panels * W;
      }
    }
    if (block.first_step > 0) return;
    if (!layer.norm) hand_over(input_columns(strip), strip, bias, 1, 1, layer.out.bias_ih);
    if (!layer.norm && layer.out.bias_hh)
      hand_over(state_columns(strip), strip, bias, 1, 1, layer.out.bias_hh);
    hand_over(input_columns(strip), strip, ih, input, padded_input, layer.out.weight_ih);
    const T* hh = ih + sum_rows * padded_input;
    for (int64_t b = 0; b < layer.in.block_count; ++b) {
      const RecurrentBlock<T>& from = layer.in.blocks[b];
      if (from.recurrence != Recurrence::dense) continue;
      const int64_t padded_source = panels_of<T>(from.size) * W;
      hand_over(state_columns(strip), strip, hh, from.size, padded_source, layer.out.blocks[b]);
      hh += sum_rows * padded_source;
    }
  }

  void sum_diagonal(const Block& block, T* out) const {
    const Range mine = share(panels, part, job.parts);
    for (int64_t panel = mine.first; panel < mine.last; ++panel)
      for (int g = 0; g < G; ++g) {
        const int64_t j = panel * W;
        T* gradient = out + cell_type.gate_of[state_slot + g] * hidden + j;
        V sum = block.last_step < job.steps ? load_some(gradient, hidden - j) : V{};
        for (int64_t step = 0; step < block.count; ++step)
          sum = fma(load(layer.d_a + step * d_a_row() + (state_slot + g) * padded + j),
                    load(layer.operand + (panel * job.room_rows + step) * W), sum);
        store_some(gradient, sum, hidden - j);
      }
  }

  void sum_weights(const Block& block, T* room) const {
    const int64_t strips = (columns() + sum_rows - 1) / sum_rows;
    for (int64_t strip = part; strip < strips; strip += job.parts) sum_strip(block, strip, room);
    for (int64_t b = 0; b < layer.in.block_count; ++b)
      if (layer.in.blocks[b].recurrence == Recurrence::diagonal) sum_diagonal(block, layer.out.blocks[b]);
    if (layer.norm) sum_norm(block);
    if constexpr (!built_in<CellType>) sum_parameters(block);
  }

  void hand_over_states() const {
    const Range rows = this->rows(), own = this->own();
    for (int k = 0; k < cell_type.states; ++k)
      for (int64_t s = rows.first; s < rows.last; ++s)
        for (int64_t j = own.first * W; j < own.last * W && j < hidden; j += W)
          store_some(layer.out.state[k] + job.order[s] * hidden + j, load(layer.d_state[k] + s * padded + j),
                     hidden - j);
  }

  void lay_out(Arena<T>& arena) const {
    BackwardLayer<T>& layer = job.layers[index];
    const LayerInputs<T>& in = layer.in;
    const bool masked_above = index + 1 < job.layer_count && job.layers[index + 1].in.input_mask;
    const int64_t states = job.batch * padded;
    layer.packed_ih = arena.take(padded_input * stride());
    layer.any_dense = false;
    layer.diagonal = nullptr;
    int64_t packed = 0;
    for (int64_t b = 0; b < in.block_count; ++b) packed += packed_block(in.blocks[b]);
    layer.packed_hh = arena.take(packed);
    packed = 0;
    for (int64_t b = 0; b < in.block_count; ++b) {
      if (in.blocks[b].recurrence == Recurrence::dense)
        layer.any_dense = true;
      else
        layer.diagonal = layer.packed_hh ? layer.packed_hh + packed : nullptr;
      packed += packed_block(in.blocks[b]);
    }
    layer.inputs = arena.take(padded_input * job.room_rows);
    layer.before = arena.take(padded * job.room_rows);
    layer.operand = in.recurrent_mask ? arena.take(padded * job.room_rows) : layer.before;
    layer.mask = in.recurrent_mask ? arena.take(states) : nullptr;
    layer.input_mask = in.input_mask ? arena.take(job.batch * padded_input) : nullptr;
    layer.product = in.recurrent_mask || masked_above ? arena.take(states) : nullptr;
    for (int k = 0; k < cell_type.states; ++k) layer.d_state[k] = arena.take(states);
    if constexpr (!built_in<CellType>) lay_out_own(arena);
    layer.d_a = arena.take(job.room_rows * d_a_row());
    layer.norm = in.weight_norm ? arena.take(panels * S * 2 * W) : nullptr;
    layer.d_norm = in.weight_norm ? arena.take(job.room_rows * d_a_row()) : layer.d_a;
    layer.before_norm = layer.saved + job.total * K * padded;
    layer.statistics = layer.before_norm + job.total * S * padded;
    const int64_t strips = (columns() + sum_rows - 1) / sum_rows;
    layer.sums = arena.take((job.one_block ? job.parts : strips) * strip_sums());
  }
};

// Calls visit(Back) for a layer's cell.
template <class T, class Visit>
NORIA_INLINE void with_layer(const BackwardJob<T>& job, int64_t index, int part, Visit visit) {
  with_cell<T>(job.layers[index].in.cell,
               [&]<class C>() { visit(Back<T, C>{numbers_of<C>(job.layers[index].in), job, index, part}); });
}

// All layers' steps of a block, from the last: those above before those below, whose outputs they read.
template <class T>
void go_back(const BackwardJob<T>& job, int part, const Block& block) {
  for (int64_t t = block.last_step - 1; t >= block.first_step; --t) {
    for (int64_t l = job.layer_count - 1; l >= 0; --l) {
      with_layer(job, l, part, [&](const auto& back) { back.step(block, t); });
      if (job.by_neuron && (l > 0 || job.layers[l].any_dense)) job.barrier->wait();
      if (l > 0) with_layer(job, l, part, [&](const auto& back) { back.hand_down(block, t); });
    }
    for (int64_t l = 0; l < job.layer_count; ++l)
      if (job.layers[l].any_dense)
        with_layer(job, l, part, [&](const auto& back) { back.feed_back(block, t); });
  }
}

}  // namespace

template <class T>
int64_t layout_backward(BackwardJob<T>& job, T* block) {
  // From sizes without padding: the order of the sums must not depend on the target.
  int64_t row = 0;
  for (int64_t l = 0; l < job.layer_count; ++l) {
    const LayerInputs<T>& in = job.layers[l].in;
    with_cell<T>(in.cell, [&]<class C>() {
      row += (cell_of<C>(in).slots * (in.weight_norm ? 2 : 1) + 1) * in.hidden + in.input;
    });
  }
  const int64_t fitting = block_bytes / (row * int64_t(sizeof(T)));
  job.block_rows = fitting < least_block_rows ? least_block_rows : fitting;
  job.room_rows = job.block_rows + job.batch < job.total ? job.block_rows + job.batch : job.total;
  job.one_block = job.total <= job.block_rows;
  Arena<T> arena(block);
  for (int64_t l = 0; l < job.layer_count; ++l)
    with_layer(job, l, 0, [&](const auto& back) { back.lay_out(arena); });
  const int64_t padded_input = panels_of<T>(job.layers[0].in.input) * width<T>;
  const int64_t weights = sum_rows * sum_steps, inputs = input_rows * padded_input;
  job.part_room = ((weights > inputs ? weights : inputs) + 15) / 16 * 16;
  job.room = arena.take(job.part_room * job.parts);
  return arena.used();
}

template <class T>
void backward(const BackwardJob<T>& job, int part) {
  T* room = job.room + part * job.part_room;
  const auto each_layer = [&](auto visit) {
    for (int64_t l = 0; l < job.layer_count; ++l) with_layer(job, l, part, visit);
  };
  each_layer([](const auto& back) { back.start(); });
  job.barrier->wait();
  int64_t last = job.steps;
  do {
    int64_t first = last > 0 ? last - 1 : 0;
    while (first > 0 && job.offset[last] - job.offset[first] < job.block_rows) --first;
    const Block block = {first, last, job.offset[first], job.offset[last] - job.offset[first]};
    each_layer([&](const auto& back) { back.pack_steps(block); });
    job.barrier->wait();
    go_back(job, part, block);
    job.barrier->wait();
    with_layer(job, 0, part, [&](const auto& back) { back.multiply_input(block, room); });
    each_layer([&](const auto& back) { back.sum_weights(block, room); });
    job.barrier->wait();
    last = first;
  } while (last > 0);
  each_layer([](const auto& back) { back.hand_over_states(); });
}

template int64_t layout_backward<float>(BackwardJob<float>&, float*);
template int64_t layout_backward<double>(BackwardJob<double>&, double*);
template void backward<float>(const BackwardJob<float>&, int);
template void backward<double>(const BackwardJob<double>&, int);

}  // namespace noria::NORIA_TARGET
