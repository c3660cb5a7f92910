/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/linears.hh"

#include "common/program.hh"

#include <cstring>

namespace sailsim::kernels::decode
{

LutmmLinears::LutmmLinears(const Image &image, const LinearsSettings &settings)
    : image_(image), tiles_of_matrix_(image.most(&Shape::tiles)),
      descriptors_(image.matrices().size() * tiles_of_matrix_ * sizeof(lutmm_descriptor)),
      tiles_(kMostProducts * tiles_of_matrix_, settings.batch * image.most(&Shape::share),
             image.dimensions().slices, settings.unit)
{
    const std::size_t products = image.matrices().size() - (&image.embedding() == &image.head() ? 0 : 1);
    for (std::size_t i = 0; i < products; ++i) {
        const Matrix &matrix = image.matrices()[i];
        if (matrix.tiles == nullptr)
            fail("--linears is lutmm and matrix %zu of the image has no tiles; allowed: an image with them "
                 "(sailsim image --layout rows,tiles)",
                 i);
        for (std::size_t tile = 0; tile < matrix.shape.tiles(); ++tile)
            descriptors(matrix)[tile] = describe_tile(matrix, tile, settings.batch, settings.unit.nbw);
    }
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
        tiles_.submit(at, tile, d);
        return true;
    });
    if (meanwhile)
        meanwhile(worker);
    for_my_tiles([&](const Product &product, std::size_t tile, std::size_t at) {
        const Shape &shape = product.matrix->shape;
        const float *results = tiles_.wait(at, worker);
        if (results == nullptr)
            return false;
        const std::size_t outputs = shape.tile_outputs(tile);
        for (std::size_t b = 0; b < x.batch(); ++b)
            std::memcpy(product.y + b * product.stride + tile * shape.share(), results + b * outputs,
                        outputs * sizeof(float));
        return true;
    });
}

} // namespace sailsim::kernels::decode
