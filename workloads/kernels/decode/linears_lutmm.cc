/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/linears.hh"

#include "common/program.hh"
#include "lutmm/unit.hh"

#include <algorithm>
#include <cstring>

namespace sailsim::kernels::decode
{

namespace
{

// On a line of its own, so that a poll does not meet another unit's answer.
struct alignas(kLine) Record {
    lutmm_completion completion;
};

class LutmmLinears : public Linears
{
  public:
    LutmmLinears(const Image &image, const LinearsSettings &settings);

    Wanted wanted() const override { return {false, true}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;
    std::string problem() const override;

  private:
    lutmm_descriptor *descriptors(const Matrix &matrix);

    const Image &image_;
    unsigned units_;
    std::uint64_t timeout_ns_;
    std::size_t tiles_of_matrix_; // room in the array of descriptors
    std::size_t tile_floats_;     // room for the results of one tile
    Buffer descriptors_, records_, outputs_;
    std::atomic<std::uint32_t> wrong_status_{LUTMM_OK};
};

std::size_t most_tile_outputs(const Image &image)
{
    std::size_t most = 0;
    for (const Matrix &matrix : image.matrices())
        most = std::max(most, matrix.shape.share());
    return most;
}

// All of a tile's descriptor but where the operand and the results are.
lutmm_descriptor describe(const Matrix &matrix, std::size_t tile, const LinearsSettings &settings)
{
    const Shape &shape = matrix.shape;
    const std::uint8_t *bytes = matrix.tiles + tile * shape.tile_stride();
    lutmm_descriptor d{};
    d.weights = address_of(bytes);
    d.scales = address_of(bytes + shape.tile_codes());
    d.k = static_cast<std::uint32_t>(shape.k);
    d.n = static_cast<std::uint32_t>(shape.tile_outputs(tile));
    d.batch = static_cast<std::uint16_t>(settings.batch);
    d.wbits = static_cast<std::uint8_t>(shape.wbits);
    d.abits = 8;
    d.nbw = settings.nbw;
    d.flags = static_cast<std::uint8_t>(matrix.code_flags | LUTMM_F_PRT | LUTMM_F_CONVERT |
                                        (shape.minimum ? LUTMM_F_MINIMUM : 0));
    d.group_size = static_cast<std::uint16_t>(shape.group_size);
    if (matrix.code_flags == LUTMM_F_CODE_BOOK)
        d.codebook = address_of(matrix.book);
    else if (matrix.code_flags == LUTMM_F_CODE_OFFSET)
        d.codebook = matrix.zero_point;
    return d;
}

LutmmLinears::LutmmLinears(const Image &image, const LinearsSettings &settings)
    : image_(image),
      units_(settings.units != 0 ? settings.units : static_cast<unsigned>(image.dimensions().slices)),
      timeout_ns_(settings.timeout_ns), tiles_of_matrix_(image.dimensions().slices),
      tile_floats_(round_up(settings.batch * most_tile_outputs(image), kLine / sizeof(float))),
      descriptors_(image.matrices().size() * tiles_of_matrix_ * sizeof(lutmm_descriptor)),
      records_(kMostProducts * tiles_of_matrix_ * sizeof(Record)),
      outputs_(kMostProducts * tiles_of_matrix_ * tile_floats_ * sizeof(float))
{
    const std::size_t products = image.matrices().size() - (&image.embedding() == &image.head() ? 0 : 1);
    for (std::size_t i = 0; i < products; ++i) {
        const Matrix &matrix = image.matrices()[i];
        if (matrix.tiles == nullptr)
            fail("--linears is lutmm and matrix %zu of the image has no tiles; allowed: an image with them "
                 "(sailsim image --layouts rows,tiles)",
                 i);
        for (std::size_t tile = 0; tile < matrix.shape.tiles(); ++tile)
            descriptors(matrix)[tile] = describe(matrix, tile, settings);
    }
    lutmm_install_emulator();
}

lutmm_descriptor *LutmmLinears::descriptors(const Matrix &matrix)
{
    const auto number = static_cast<std::size_t>(&matrix - image_.matrices().data());
    return descriptors_.as<lutmm_descriptor>() + number * tiles_of_matrix_;
}

void LutmmLinears::multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker)
{
    // Calls body(product, tile, its place among the records) for this thread's tiles until one is false.
    const auto for_my_tiles = [&](auto &&body) {
        for (std::size_t i = 0; i < count; ++i) {
            const Range mine = worker.part(products[i].matrix->shape.tiles());
            for (std::size_t tile = mine.first; tile < mine.last; ++tile)
                if (!body(products[i], tile, i * tiles_of_matrix_ + tile))
                    return;
        }
    };
    for_my_tiles([&](const Product &product, std::size_t tile, std::size_t at) {
        const Shape &shape = product.matrix->shape;
        std::uint8_t *scales = product.matrix->tiles + tile * shape.tile_stride() + shape.tile_codes();
        std::memcpy(scales + shape.tile_scale_bytes(shape.tile_outputs(tile)), x.scales(),
                    x.batch() * sizeof(float));
        lutmm_descriptor &d = descriptors(*product.matrix)[tile];
        d.activations = address_of(x.row(0));
        d.output = address_of(outputs_.as<float>() + at * tile_floats_);
        Record &record = records_.as<Record>()[at];
        d.completion = address_of(&record);
        record.completion.status = LUTMM_PENDING;
        lutmm_submit(static_cast<unsigned>(tile % units_), &d);
        return true;
    });
    for_my_tiles([&](const Product &product, std::size_t tile, std::size_t at) {
        const Shape &shape = product.matrix->shape;
        worker.units_begin();
        const std::uint32_t status = lutmm_wait(&records_.as<Record>()[at].completion, timeout_ns_);
        worker.units_end();
        if (status != LUTMM_OK) {
            wrong_status_.store(status, std::memory_order_relaxed);
            return false;
        }
        const float *results = outputs_.as<float>() + at * tile_floats_;
        const std::size_t outputs = shape.tile_outputs(tile);
        for (std::size_t b = 0; b < x.batch(); ++b)
            std::memcpy(product.y + b * product.stride + tile * shape.share(), results + b * outputs,
                        outputs * sizeof(float));
        return true;
    });
}

std::string LutmmLinears::problem() const
{
    const std::uint32_t status = wrong_status_.load(std::memory_order_relaxed);
    if (status == LUTMM_OK)
        return "";
    if (status == LUTMM_PENDING)
        return "a unit did not answer within --timeout-ms";
    return std::string("a unit refused a tile: ") + lutmm_status_name(status);
}

} // namespace

std::unique_ptr<Linears> lutmm_linears(const Image &image, const LinearsSettings &settings)
{
    return std::make_unique<LutmmLinears>(image, settings);
}

} // namespace sailsim::kernels::decode
