/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/tiles.hh"

namespace sailsim::kernels::decode
{

lutmm_descriptor describe_tile(const Matrix &matrix, std::size_t tile, std::size_t batch, std::uint8_t nbw)
{
    const Shape &shape = matrix.shape;
    const std::uint8_t *bytes = matrix.tiles + tile * shape.tile_stride();
    lutmm_descriptor d{};
    d.weights = address_of(bytes);
    d.scales = address_of(bytes + shape.tile_codes());
    d.k = static_cast<std::uint32_t>(shape.k);
    d.n = static_cast<std::uint32_t>(shape.tile_outputs(tile));
    d.batch = static_cast<std::uint16_t>(batch);
    d.wbits = static_cast<std::uint8_t>(shape.wbits);
    d.abits = 8;
    d.nbw = nbw;
    d.flags = static_cast<std::uint8_t>(matrix.code_flags | LUTMM_F_PRT | LUTMM_F_CONVERT |
                                        (shape.minimum ? LUTMM_F_MINIMUM : 0));
    d.group_size = static_cast<std::uint16_t>(shape.group_size);
    if (matrix.code_flags == LUTMM_F_CODE_BOOK)
        d.codebook = address_of(matrix.book);
    else if (matrix.code_flags == LUTMM_F_CODE_OFFSET)
        d.codebook = matrix.zero_point;
    return d;
}

Tiles::Tiles(std::size_t count, std::size_t floats, std::size_t slices, const UnitSettings &settings)
    : floats_(round_up(floats, kLine / sizeof(float))),
      units_(settings.units != 0 ? settings.units : static_cast<unsigned>(slices)),
      timeout_ns_(settings.timeout_ns), records_(count * sizeof(Record)),
      outputs_(count * floats_ * sizeof(float))
{
    lutmm_install_emulator();
}

void Tiles::submit(std::size_t at, std::size_t slice, lutmm_descriptor &descriptor)
{
    Record &record = records_.as<Record>()[at];
    descriptor.output = address_of(results(at));
    descriptor.completion = address_of(&record);
    record.completion.status = LUTMM_PENDING;
    lutmm_submit(static_cast<unsigned>(slice % units_), &descriptor);
}

const float *Tiles::wait(std::size_t at, Worker &worker)
{
    worker.units_begin();
    const std::uint32_t status = lutmm_wait(&records_.as<Record>()[at].completion, timeout_ns_);
    worker.units_end();
    if (status == LUTMM_OK)
        return results(at);
    wrong_status_.store(status, std::memory_order_relaxed);
    return nullptr;
}

std::string Tiles::problem() const
{
    const std::uint32_t status = wrong_status_.load(std::memory_order_relaxed);
    if (status == LUTMM_OK)
        return "";
    if (status == LUTMM_PENDING)
        return "a unit did not answer within --timeout-ms";
    return std::string("a unit refused a tile: ") + lutmm_status_name(status);
}

} // namespace sailsim::kernels::decode
