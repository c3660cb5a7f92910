/* SPDX-License-Identifier: BSD-3-Clause
 *
 * LUTMM Xn: stores Xn, the address of a descriptor, to the doorbell of a PIM unit.
 */
#ifndef SAILSIM_GEM5_LUTMM_HH
#define SAILSIM_GEM5_LUTMM_HH

#include <string>

#include "arch/arm/insts/static_inst.hh"
#include "cpu/exec_context.hh"
#include "cpu/static_inst.hh"

namespace gem5::sail
{

/* Bytes between the doorbells of two units: a page, so that a process can be given units one by one. */
constexpr Addr doorbell_stride = 4096;

class Lutmm : public ArmISA::ArmStaticInst
{
  public:
    /* `doorbell` is the virtual address of unit 0's doorbell. */
    Lutmm(ArmISA::ExtMachInst word, Addr doorbell);

    Fault execute(ExecContext *xc, trace::InstRecord *trace) const override;
    Fault initiateAcc(ExecContext *xc, trace::InstRecord *trace) const override;
    Fault completeAcc(PacketPtr packet, ExecContext *xc, trace::InstRecord *trace) const override;

    std::string generateDisassembly(Addr pc, const loader::SymbolTable *symbols) const override;

  private:
    const RegIndex source;
    const unsigned unit;
    const Addr address;
    RegId sources[1];
};

} // namespace gem5::sail

#endif
