/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_MSHARE_H
#define _ASM_X86_MSHARE_H

#include <linux/cpufeature.h>
#include <linux/mm_types.h>
#include <linux/pgtable.h>

/*
 * Set the P4D entry of a sharer, so that it points at the host's PUD table.
 * With four levels this is a PGD entry, and set_p4d() also updates the user
 * copy of page-table isolation.
 *
 * Build the entry from scratch instead of copying the host's, as isolation sets
 * NX in the kernel's copy of an entry. On x86 all levels must allow writing,
 * and all levels must allow execution. So a read-only window allows neither,
 * whatever the entries below say.
 */
static inline void arch_mshare_link(p4d_t *p4d, pud_t *pud, bool writable)
{
	p4dval_t flags = _PAGE_TABLE;

	if (!writable)
		flags = (flags & ~_PAGE_RW) | (_PAGE_NX & __supported_pte_mask);

	set_p4d(p4d, __p4d(flags | __pa(pud)));
}

static inline bool arch_mshare_p4d_writable(p4d_t p4d)
{
	return p4d_flags(p4d) & _PAGE_RW;
}

/* The entry that is used in user mode, where isolation does not add NX. */
static inline p4d_t arch_mshare_user_p4d(p4d_t *p4dp)
{
#ifdef CONFIG_MITIGATION_PAGE_TABLE_ISOLATION
	if (boot_cpu_has(X86_FEATURE_PTI) && !pgtable_l5_enabled())
		return __p4d(pgd_val(*kernel_to_user_pgdp((pgd_t *)p4dp)));
#endif
	return *p4dp;
}

/* Does @p4dp allow execution if and only if the sharer may write? */
static inline bool arch_mshare_nx_ok(p4d_t *p4dp, bool writable)
{
	bool nx = p4d_flags(arch_mshare_user_p4d(p4dp)) & _PAGE_NX;

	return nx == (!writable && (__supported_pte_mask & _PAGE_NX));
}

/* On one CPU, with interrupts off; see arch/x86/mm/tlb.c. */
struct mm_struct *arch_mshare_loaded_mm(void);
void arch_mshare_flush_local(unsigned long start, unsigned long end,
			     unsigned int stride_shift, bool remote);

/* Xen PV pins page tables, and does not know about shared ones. */
static inline bool arch_mshare_supported(void)
{
	return !cpu_feature_enabled(X86_FEATURE_XENPV);
}

#endif /* _ASM_X86_MSHARE_H */
