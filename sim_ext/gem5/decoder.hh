/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gem5's AArch64 decoder with one more instruction, LUTMM.
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
    /* The instruction of an encoded word. The base's cache of decoded words is shared by all decoders, also
     * by those without LUTMM, so these words have their own. */
    StaticInstPtr lutmm(ArmISA::ExtMachInst word);

    const Addr doorbell; /* virtual address of unit 0's page */
    std::unordered_map<std::uint32_t, StaticInstPtr> decoded;
};

} // namespace gem5::sail

#endif
