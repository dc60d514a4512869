/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private interface between arch/x86/mm/tlb.c and mm/mshare*.c.
 */
#ifndef _ASM_X86_MSHARE_TLB_H
#define _ASM_X86_MSHARE_TLB_H

#include <linux/types.h>

struct mm_struct;

/* On one CPU, with interrupts off; see arch/x86/mm/tlb.c. */
void arch_mshare_note_loaded(void);

#ifdef CONFIG_MSHARE_DEBUG
/* Warn if an ASID is used that has missed a flush; see mm/mshare_debug.c. */
u64 mshare_debug_flush_seq(void);
void mshare_debug_check_seq(struct mm_struct *mm, u64 seq);
#endif

#endif /* _ASM_X86_MSHARE_TLB_H */
