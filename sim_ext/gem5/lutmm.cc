/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/lutmm.hh"

#include <sstream>

#include "arch/arm/regs/int.hh"
#include "arch/generic/memhelpers.hh"
#include "base/bitfield.hh"
#include "cpu/thread_context.hh"
#include "gem5/doorbell.hh"
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

} // namespace

Lutmm::Lutmm(ArmISA::ExtMachInst word, Addr doorbell)
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

Fault Lutmm::doorbell_missing(ExecContext *xc) const
{
    if (FullSystem || xc->tcBase()->getProcessPtr()->pTable->lookup(address))
        return NoFault;
    return std::make_shared<NoDoorbell>(unit);
}

Fault Lutmm::execute(ExecContext *xc, trace::InstRecord *trace) const
{
    if (Fault fault = doorbell_missing(xc); fault != NoFault)
        return fault;
    const std::uint64_t descriptor = xc->getRegOperand(this, 0);
    return writeMemAtomicLE(xc, trace, descriptor, address, access_flags, nullptr);
}

Fault Lutmm::initiateAcc(ExecContext *xc, trace::InstRecord *trace) const
{
    if (Fault fault = doorbell_missing(xc); fault != NoFault)
        return fault;
    const std::uint64_t descriptor = xc->getRegOperand(this, 0);
    return writeMemTimingLE(xc, trace, descriptor, address, access_flags, nullptr);
}

Fault Lutmm::completeAcc(PacketPtr, ExecContext *, trace::InstRecord *) const
{
    return NoFault;
}

std::string Lutmm::generateDisassembly(Addr, const loader::SymbolTable *) const
{
    std::ostringstream text;
    printMnemonic(text, "", false);
    printIntReg(text, source);
    text << ", unit " << unit;
    return text.str();
}

} // namespace gem5::sail
