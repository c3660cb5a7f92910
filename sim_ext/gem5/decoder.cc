/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/decoder.hh"

#include "abi/lutmm.h"
#include "arch/arm/pcstate.hh"
#include "gem5/lutmm.hh"

namespace gem5::sail
{

Decoder::Decoder(const SailArmDecoderParams &params) : ArmISA::Decoder(params), doorbell(params.doorbell)
{
}

StaticInstPtr Decoder::decode(PCStateBase &pc)
{
    const ArmISA::ExtMachInst word = emi; /* the base clears it */
    const bool ours = instDone && word.aarch64 && !word.decoderFault &&
                      (word.instBits & LUTMM_INSN_MASK) == LUTMM_INSN_BASE;
    StaticInstPtr inst = ArmISA::Decoder::decode(pc);
    if (!ours)
        return inst;
    /* An illegal execution state or a debug step comes before any instruction. */
    const auto &arm_pc = pc.as<ArmISA::PCState>();
    if (arm_pc.illegalExec() || arm_pc.debugStep())
        return inst;
    return lutmm(word);
}

StaticInstPtr Decoder::lutmm(ArmISA::ExtMachInst word)
{
    StaticInstPtr &inst = decoded[word.instBits];
    if (!inst) {
        inst = new Lutmm(word, doorbell);
        inst->size(sizeof(std::uint32_t));
    }
    return inst;
}

} // namespace gem5::sail
