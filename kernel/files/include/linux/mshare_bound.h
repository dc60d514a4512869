/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mshare: how much work is done in one hold of a region's locks.
 *
 * A region may be very large, and whoever shares it may call for work on all of
 * it. Such work goes in pieces: between two of them the host's mmap_lock is
 * given to those who wait for it, and then everything that was found under it
 * has to be looked up again. A process's own mm keeps the kernel's ways: all
 * this does nothing to it.
 */
#ifndef _LINUX_MSHARE_BOUND_H
#define _LINUX_MSHARE_BOUND_H

#include <linux/mmap_lock.h>
#include <linux/mshare.h>

/*
 * Sizes of pieces, by what is done to them. In pages, what may cost a fault for
 * each, and what is looked up for each; the others in filled entries of PMD
 * tables, of 2 MiB, as less than one would cut huge pages.
 */
#define MSHARE_PIECE_FAULT	16
#define MSHARE_PIECE_LOOKUP	128
#define MSHARE_PIECE_WALK	1
#define MSHARE_PIECE_ZAP	1
#define MSHARE_PIECE_PROT	1
#define MSHARE_PIECE_COLLAPSE	16

/* A mapping that is larger is not moved: that cannot be done in pieces. */
#define MSHARE_MOVE_MAX		(64UL << 20)

struct vma_iterator;

#ifdef CONFIG_MSHARE

unsigned long __mshare_piece_end(struct mm_struct *host, unsigned long addr,
				 unsigned long end, unsigned int entries);
bool __mshare_wanted(struct mm_struct *host);
int mshare_read_lock_host(struct mm_struct *host);
int mshare_relax(struct mm_struct *host, bool write);
void mshare_give_way(struct mm_struct *host);
struct vm_area_struct *mshare_find_again(struct vma_iterator *vmi,
					 struct mm_struct *host,
					 unsigned long start,
					 unsigned long end,
					 struct vm_area_struct **prev);
int mshare_munmap(struct mm_struct *host, unsigned long start, size_t len);
int mshare_make_room(struct mm_struct *host, struct file *file,
		     unsigned long addr, unsigned long len,
		     vm_flags_t vm_flags);

/*
 * Where the piece that begins at @addr ends: @end at most. The range lies in a
 * VMA of @mm, or @mm is locked for writing.
 */
static inline unsigned long mshare_piece_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end,
					     unsigned int entries)
{
	return mm_is_mshare_host(mm) ?
	       __mshare_piece_end(mm, addr, end, entries) : end;
}

/* The same for what may fault in each page. */
static inline unsigned long mshare_fault_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return mm_is_mshare_host(mm) ?
	       min(end, addr + MSHARE_PIECE_FAULT * PAGE_SIZE) : end;
}

/* The same for what costs something where there is no entry, too. */
static inline unsigned long mshare_dense_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return mm_is_mshare_host(mm) ?
	       min(end, addr + MSHARE_PIECE_LOOKUP * PAGE_SIZE) : end;
}

/*
 * Is it time to give up @mm's mmap_lock for a moment? Only if it is a host's.
 * Followed by mshare_relax().
 */
static inline bool mshare_wanted(struct mm_struct *mm)
{
	return mm_is_mshare_host(mm) && __mshare_wanted(mm);
}

/* Lock any mm for reading; -EINTR only for a host. */
static inline int mshare_read_lock(struct mm_struct *mm)
{
	if (mm_is_mshare_host(mm))
		return mshare_read_lock_host(mm);
	mmap_read_lock(mm);
	return 0;
}

bool mshare_may_lock(unsigned long pages);
int __mshare_charge_locked(struct mm_struct *host, unsigned long pages,
			   bool limited);
void __mshare_uncharge_locked(struct mm_struct *host, unsigned long pages);

/*
 * Count @pages that are about to be locked in @mm, if it is a host, against the
 * limit of the caller's user. Return: 0, or -ENOMEM if that is too much.
 */
static inline int mshare_charge_locked(struct mm_struct *mm,
				       unsigned long pages)
{
	return mm_is_mshare_host(mm) ? __mshare_charge_locked(mm, pages, true) :
				       0;
}

/* The same for what may not fail, as it has been counted already. */
static inline void mshare_recharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
	if (mm_is_mshare_host(mm))
		__mshare_charge_locked(mm, pages, false);
}

/* They no longer are: unlocked, unmapped, or not locked after all. */
static inline void mshare_uncharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
	if (mm_is_mshare_host(mm) && pages)
		__mshare_uncharge_locked(mm, pages);
}

#else /* !CONFIG_MSHARE */

static inline unsigned long mshare_piece_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end,
					     unsigned int entries)
{
	return end;
}

static inline unsigned long mshare_fault_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return end;
}

static inline unsigned long mshare_dense_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return end;
}

static inline bool mshare_wanted(struct mm_struct *mm)
{
	return false;
}

static inline int mshare_read_lock(struct mm_struct *mm)
{
	mmap_read_lock(mm);
	return 0;
}

static inline int mshare_relax(struct mm_struct *host, bool write)
{
	return 0;
}

static inline void mshare_give_way(struct mm_struct *host) { }

static inline bool mshare_may_lock(unsigned long pages)
{
	return true;
}

static inline int mshare_charge_locked(struct mm_struct *mm,
				       unsigned long pages)
{
	return 0;
}

static inline void mshare_recharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
}

static inline void mshare_uncharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
}

static inline struct vm_area_struct *
mshare_find_again(struct vma_iterator *vmi, struct mm_struct *host,
		  unsigned long start, unsigned long end,
		  struct vm_area_struct **prev)
{
	return NULL;
}

static inline int mshare_munmap(struct mm_struct *host, unsigned long start,
				size_t len)
{
	return 0;
}

static inline int mshare_make_room(struct mm_struct *host, struct file *file,
				   unsigned long addr, unsigned long len,
				   vm_flags_t vm_flags)
{
	return 0;
}

#endif /* CONFIG_MSHARE */

/*
 * Called for each piece of a VMA, with the host locked for reading. Non-zero
 * ends the walk, which returns it.
 */
typedef int (*mshare_piece_fn)(struct vm_area_struct *vma, unsigned long start,
			       unsigned long end, void *arg);

int mshare_walk_pieces(struct mm_struct *host, unsigned long start,
		       unsigned long end, mshare_piece_fn fn, void *arg);

#endif /* _LINUX_MSHARE_BOUND_H */
