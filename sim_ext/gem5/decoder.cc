/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/decoder.hh"

#include <sstream>

#include "abi/lutmm.h"
#include "arch/arm/insts/static_inst.hh"
#include "arch/arm/pcstate.hh"
#include "arch/arm/regs/int.hh"
#include "arch/generic/memhelpers.hh"
#include "base/bitfield.hh"
#include "cpu/exec_context.hh"
#include "cpu/static_inst.hh"
#include "cpu/thread_context.hh"
#include "gem5/ports.hh"
#include "mem/page_table.hh"
#include "mem/request.hh"
#include "sim/faults.hh"
#include "sim/full_system.hh"
#include "sim/process.hh"
#include "sim/sim_exit.hh"

namespace gem5::sail
{

namespace
{

/* An 8-byte aligned device store that nothing may pass: everything that the program wrote before LUTMM, the
 * descriptor above all, must be visible to the unit that reads it. */
constexpr Request::FlagsType access_flags =
    3 | Request::UNCACHEABLE | Request::STRICT_ORDER | Request::RELEASE;

/* gem5's page fault would stop the simulator itself. */
class NoDoorbell : public FaultBase
{
  public:
    explicit NoDoorbell(unsigned missing) : unit(missing) {}

    FaultName name() const override { return "LUTMM without a doorbell"; }

    void invoke(ThreadContext *, const StaticInstPtr &) override
    {
        exitSimLoop(csprintf("LUTMM for unit %d, and this program has no doorbell of it", unit), 1);
    }

  private:
    const unsigned unit;
};

/* LUTMM Xn: stores Xn, the address of a descriptor, to the doorbell of a PIM unit. A program that was given
 * no doorbell ends there, as it would by an illegal instruction. */
class Lutmm : public ArmISA::ArmStaticInst
{
  public:
    /* `doorbell` is the virtual address of unit 0's doorbell. */
    Lutmm(ArmISA::ExtMachInst word, Addr doorbell)
        : ArmStaticInst("lutmm", word, MemWriteOp),
          source(ArmISA::makeZero(static_cast<RegIndex>(bits(word, 9, 5)))), unit(bits(word, 15, 10)),
          address(doorbell + unit * doorbell_stride)
    {
        setRegIdxArrays(reinterpret_cast<RegIdArrayPtr>(&Lutmm::sources), nullptr);
        setSrcRegIdx(_numSrcRegs++, ArmISA::isZero(source) ? RegId() : ArmISA::intRegClass[source]);
        flags[IsStore] = true;
        flags[IsInteger] = true;
        flags[IsNonSpeculative] = true;
        flags[IsWriteBarrier] = true;
    }

    Fault execute(ExecContext *xc, trace::InstRecord *trace) const override
    {
        if (Fault fault = doorbell_missing(xc); fault != NoFault)
            return fault;
        const std::uint64_t descriptor = xc->getRegOperand(this, 0);
        return writeMemAtomicLE(xc, trace, descriptor, address, access_flags, nullptr);
    }

    Fault initiateAcc(ExecContext *xc, trace::InstRecord *trace) const override
    {
        if (Fault fault = doorbell_missing(xc); fault != NoFault)
            return fault;
        const std::uint64_t descriptor = xc->getRegOperand(this, 0);
        return writeMemTimingLE(xc, trace, descriptor, address, access_flags, nullptr);
    }

    Fault completeAcc(PacketPtr, ExecContext *, trace::InstRecord *) const override { return NoFault; }

    std::string generateDisassembly(Addr, const loader::SymbolTable *) const override
    {
        std::ostringstream text;
        printMnemonic(text, "", false);
        printIntReg(text, source);
        text << ", unit " << unit;
        return text.str();
    }

  private:
    /* The fault of a process in syscall emulation that the doorbell is not mapped for. */
    Fault doorbell_missing(ExecContext *xc) const
    {
        if (FullSystem || xc->tcBase()->getProcessPtr()->pTable->lookup(address))
            return NoFault;
        return std::make_shared<NoDoorbell>(unit);
    }

    const RegIndex source;
    const unsigned unit;
    const Addr address;
    RegId sources[1];
};

} // namespace

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
    StaticInstPtr &lutmm = decoded[word.instBits];
    if (!lutmm) {
        lutmm = new Lutmm(word, doorbell);
        lutmm->size(sizeof(std::uint32_t));
    }
    return lutmm;
}

} // namespace gem5::sail
