/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gem5's AArch64 decoder with one more instruction, LUTMM. With `neoverse` it also tells vector instructions
 * apart that gem5 has in one operation class, and the pipes of a Neoverse N1 or V2 do not.
 */
#ifndef SAILSIM_GEM5_DECODER_HH
#define SAILSIM_GEM5_DECODER_HH

#include <cstdint>
#include <unordered_map>

#include "arch/arm/decoder.hh"
#include "params/SailArmDecoder.hh"

namespace gem5::sail
{

class Decoder : public ArmISA::Decoder
{
  public:
    explicit Decoder(const SailArmDecoderParams &params);

    StaticInstPtr decode(PCStateBase &pc) override;

  private:
    const Addr doorbell; /* virtual address of unit 0's page */
    const bool neoverse;
    /* The base's cache of decoded words is shared by all decoders, also by those of gem5. */
    std::unordered_map<std::uint32_t, StaticInstPtr> decoded;
};

} // namespace gem5::sail

#endif
