/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/decoder.hh"

#include <sstream>

#include "abi/lutmm.h"
#include "arch/arm/insts/macromem.hh"
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

/* What vector pipes make of an instruction. */
struct Passage {
    OpClass kind;
    bool halves; /* takes its pipe for two cycles */
};

/* Of a vector instruction of AArch64 whose ports and latency are not those of its operation class; `kind` is
 * that class. */
Passage passage_of(std::uint32_t word, OpClass kind)
{
    if (bits(word, 31) || bits(word, 28, 25) != 7)
        return {kind, false};
    const bool wide = bits(word, 30), unsigned_ = bits(word, 29);
    const unsigned operation = bits(word, 16, 12);
    if (kind == SimdCvtOp || kind == SimdFloatCvtOp) { /* 128 bits on either side: FCVTN and FCVTL always */
        const bool widths_differ = bits(word, 21, 17) == 0x10 && (operation == 0x16 || operation == 0x17);
        return {kind, wide || widths_differ};
    }
    if (kind == SimdMultOp || kind == SimdMultAccOp) { /* MUL, MLA and MLS keep the width of their factors */
        const bool keeps = !bits(word, 24) && bits(word, 21) && bits(word, 10) && bits(word, 15, 12) == 9;
        return {kind, wide && keeps};
    }
    if (bits(word, 24) || bits(word, 11, 10) != 2)
        return {kind, false};
    const bool saturates = operation == 0x14 || (operation == 0x12 && unsigned_); /* SQXTN, UQXTN, SQXTUN */
    if (bits(word, 21, 17) == 0x10 && (saturates || operation == 6))              /* SADALP */
        return {SimdShiftAccOp, false};
    if (bits(word, 21, 17) == 0x18) { /* across lanes */
        if (operation == 0xc || operation == 0xf)
            return {SimdFloatReduceCmpOp, false};
        return bits(word, 23, 22) == 2 ? Passage{SimdReduceAddOp, false} : Passage{SimdReduceAluOp, true};
    }
    return {kind, false};
}

/* The half of an instruction that yields nothing: it takes the pipe for a cycle. */
class FirstHalf : public ArmISA::MicroOp
{
  public:
    FirstHalf(OpClass kind, ArmISA::ExtMachInst word) : MicroOp("first half", word, kind)
    {
        flags[IsMicroop] = true;
        flags[IsFirstMicroop] = true;
    }

    Fault execute(ExecContext *, trace::InstRecord *) const override { return NoFault; }
};

/* An instruction of gem5 in another operation class, or the half of it that has its operands and result. */
class Passed : public ArmISA::MicroOp
{
  public:
    Passed(StaticInstPtr instruction, const Passage &passage, ArmISA::ExtMachInst word)
        : MicroOp("passed", word, passage.kind), whole(instruction)
    {
        panic_if(whole->numSrcRegs() > most || whole->numDestRegs() > most,
                 "%s has %d sources and %d results", whole->getName(), whole->numSrcRegs(),
                 whole->numDestRegs());
        setRegIdxArrays(reinterpret_cast<RegIdArrayPtr>(&Passed::sources),
                        reinterpret_cast<RegIdArrayPtr>(&Passed::results));
        for (; _numSrcRegs < whole->numSrcRegs(); ++_numSrcRegs)
            setSrcRegIdx(_numSrcRegs, whole->srcRegIdx(_numSrcRegs));
        for (; _numDestRegs < whole->numDestRegs(); ++_numDestRegs) {
            setDestRegIdx(_numDestRegs, whole->destRegIdx(_numDestRegs));
            ++_numTypedDestRegs[whole->destRegIdx(_numDestRegs).classValue()];
        }
        flags[IsVector] = whole->isVector();
        flags[IsMicroop] = passage.halves;
        flags[IsLastMicroop] = passage.halves;
    }

    Fault execute(ExecContext *xc, trace::InstRecord *trace) const override
    {
        return whole->execute(xc, trace);
    }

    std::string generateDisassembly(Addr pc, const loader::SymbolTable *symbols) const override
    {
        return whole->disassemble(pc, symbols);
    }

  private:
    static constexpr int most = 16;
    const StaticInstPtr whole;
    RegId sources[most];
    RegId results[most];
};

/* An instruction as two micro-operations: gem5 knows pipes that are held until there is a result, and pipes
 * that are free in the next cycle. */
class Halves : public ArmISA::PredMacroOp
{
  public:
    Halves(const StaticInstPtr &whole, const Passage &passage, ArmISA::ExtMachInst word)
        : PredMacroOp("halves", word, passage.kind)
    {
        numMicroops = 2;
        microOps = new StaticInstPtr[2]{new FirstHalf(passage.kind, word), new Passed(whole, passage, word)};
    }

    std::string generateDisassembly(Addr pc, const loader::SymbolTable *symbols) const override
    {
        return microOps[1]->disassemble(pc, symbols);
    }
};

} // namespace

Decoder::Decoder(const SailArmDecoderParams &params)
    : ArmISA::Decoder(params), doorbell(params.doorbell), neoverse(params.neoverse)
{
}

StaticInstPtr Decoder::decode(PCStateBase &pc)
{
    const ArmISA::ExtMachInst word = emi; /* the base clears it */
    const bool aarch64 = instDone && word.aarch64 && !word.decoderFault;
    const bool lutmm = aarch64 && (word.instBits & LUTMM_INSN_MASK) == LUTMM_INSN_BASE;
    const StaticInstPtr inst = ArmISA::Decoder::decode(pc);
    if (!lutmm && !(aarch64 && neoverse))
        return inst;
    const OpClass kind = inst->opClass();
    const Passage passage = lutmm ? Passage{kind, false} : passage_of(word.instBits, kind);
    if (!lutmm && passage.kind == kind && !passage.halves)
        return inst;
    /* An illegal execution state or a debug step comes before any instruction. */
    const auto &arm_pc = pc.as<ArmISA::PCState>();
    if (arm_pc.illegalExec() || arm_pc.debugStep())
        return inst;
    StaticInstPtr &ours = decoded[word.instBits];
    if (!ours) {
        if (lutmm)
            ours = new Lutmm(word, doorbell);
        else if (passage.halves)
            ours = new Halves(inst, passage, word);
        else
            ours = new Passed(inst, passage, word);
        ours->size(sizeof(std::uint32_t));
    }
    return ours;
}

} // namespace gem5::sail
