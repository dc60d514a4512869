/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_MSHARE_H
#define _ASM_X86_MSHARE_H

#include <linux/cpufeature.h>
#include <linux/mm_types.h>
#include <linux/pgtable.h>

/*
 * Build the entries of a sharer from scratch instead of copying the host's, as
 * isolation sets NX in the kernel's copy of a top-level entry. On x86 all levels
 * must allow writing, and all levels must allow execution. So a read-only window
 * allows neither, whatever the entries below say.
 */
static inline unsigned long arch_mshare_flags(bool writable)
{
	if (writable)
		return _PAGE_TABLE;

	return (_PAGE_TABLE & ~_PAGE_RW) | (_PAGE_NX & __supported_pte_mask);
}

/*
 * Set the P4D entry of a sharer, so that it points at the host's PUD table.
 * With four levels this is a PGD entry, and set_p4d() also updates the user
 * copy of page-table isolation.
 */
static inline void arch_mshare_link_p4d(p4d_t *p4d, pud_t *pud, bool writable)
{
	set_p4d(p4d, __p4d(arch_mshare_flags(writable) | __pa(pud)));
}

/*
 * The PUD entry of a sharer, in a table of its own, that points at the host's
 * PMD table. Isolation has no second copy of it. Not set_pud_at(): that is for
 * leaves.
 */
static inline void arch_mshare_link_pud(pud_t *pudp, pmd_t *pmd, bool writable)
{
	set_pud(pudp, __pud(arch_mshare_flags(writable) | __pa(pmd)));
}

static inline bool arch_mshare_p4d_writable(p4d_t p4d)
{
	return p4d_flags(p4d) & _PAGE_RW;
}

static inline bool arch_mshare_pud_writable(pud_t pud)
{
	return pud_flags(pud) & _PAGE_RW;
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

/* Do the flags allow execution if and only if the sharer may write? */
static inline bool arch_mshare_nx_ok(unsigned long flags, bool writable)
{
	return !!(flags & _PAGE_NX) ==
	       (!writable && (__supported_pte_mask & _PAGE_NX));
}

static inline bool arch_mshare_p4d_nx_ok(p4d_t *p4dp, bool writable)
{
	return arch_mshare_nx_ok(p4d_flags(arch_mshare_user_p4d(p4dp)),
				 writable);
}

static inline bool arch_mshare_pud_nx_ok(pud_t pud, bool writable)
{
	return arch_mshare_nx_ok(pud_flags(pud), writable);
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
