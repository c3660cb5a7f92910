/* SPDX-License-Identifier: BSD-3-Clause
 *
 * LUTMM Xn: stores Xn, the address of a descriptor, to the doorbell of a PIM unit. A program that was given
 * no doorbell ends there, as it would by an illegal instruction.
 */
#ifndef SAILSIM_GEM5_LUTMM_HH
#define SAILSIM_GEM5_LUTMM_HH

#include <string>

#include "arch/arm/insts/static_inst.hh"
#include "cpu/exec_context.hh"
#include "cpu/static_inst.hh"

namespace gem5::sail
{

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
    /* The fault of a process in syscall emulation that the doorbell is not mapped for. */
    Fault doorbell_missing(ExecContext *xc) const;

    const RegIndex source;
    const unsigned unit;
    const Addr address;
    RegId sources[1];
};

} // namespace gem5::sail

#endif
