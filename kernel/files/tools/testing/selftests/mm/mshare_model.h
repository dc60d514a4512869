/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a region should hold: a model of mappings, protections and contents,
 * page by page, for mshare_fuzz.  Nothing in this file makes a system call.
 *
 * The modelled pages, the arena, lie in three places of the region: at its
 * start, on both sides of a border between two of its PMD tables, and at its
 * end.
 */
#ifndef _MSHARE_MODEL_H
#define _MSHARE_MODEL_H

#include "mshare_helpers.h"

#define HUGE		512		/* pages of a huge page */
#define OBJ_PAGES	HUGE
#define ARENA_PAGES	(6 * HUGE)
#define NR_SEGS		3
#define NR_FILES	4		/* objects with a descriptor first */
#define NR_OBJS		40
#define NR_WORKERS	4
#define SEQ_PAGES	16		/* pages that share one count */

enum kind {
	K_NONE,
	K_ANON,
	K_SHARED,		/* of an object */
	K_PRIVATE,		/* of an object, until it is written to */
};

struct mpage {
	__u8 kind;
	__u8 prot;
	__u8 locked;		/* 1: VM_LOCKED, 2: and VM_LOCKONFAULT */
	__u8 own;		/* a private page of its own: base is valid */
	__u8 zero_ok;		/* MADV_FREE: may be zero */
	__u8 obj;
	__u16 off;
	__u64 base;
};

struct mobj {
	int npages;		/* beyond: SIGBUS */
	int refs;		/* pages mapped, of objects without descriptor */
	__u64 base[OBJ_PAGES];
};

struct model {
	__u64 version;		/* of the last write */
	int worker;		/* the worker that owns these pages */
	int workers;		/* number of workers; 1: it owns all pages */
	struct mpage page[ARENA_PAGES];
	struct mobj obj[NR_OBJS];
	/* odd while the pages of that part are being changed */
	__u32 seq[ARENA_PAGES / SEQ_PAGES];
	bool marked[ARENA_PAGES / SEQ_PAGES];
};

/* ---------------------------------------------------------------- content */

/*
 * A page's word w holds base | w, and base names the write: 37 bits of count,
 * 3 of worker, 12 of the page written to.  A base of 0 is a page of zeroes.
 */
#define WORDS		(PAGE / sizeof(__u64))
#define BASE_SHIFT	24

static inline __u64 new_base(struct model *m, int page)
{
	return (++m->version << 3 | m->worker) << BASE_SHIFT |
	       (__u64)page << 9;
}

static inline __u64 word_of(__u64 base, unsigned int w)
{
	return base ? base | w : 0;
}

static inline __u64 version_of(__u64 word)
{
	return word >> (BASE_SHIFT + 3);
}

static inline int worker_of(__u64 word)
{
	return word >> BASE_SHIFT & 7;
}

static inline void fill_page(void *page, __u64 base)
{
	__u64 *p = page;
	unsigned int w;

	for (w = 0; w < WORDS; w++)
		WRITE_ONCE(p[w], word_of(base, w));
}

/*
 * The first wrong word, or -1.  Half of the words that are checked depend on
 * step, all of them are checked at every 16th.
 */
static inline int bad_word(const void *page, __u64 base, bool zero_ok,
			   unsigned long step, __u64 *got)
{
	const __u64 *p = page;
	unsigned int k, w, count = step % 16 ? 8 : WORDS;
	__u64 val;

	for (k = 0; k < count; k++) {
		if (count == WORDS)
			w = k;
		else if (k % 2)
			w = (step * 2654435761U >> 8 * (k / 2)) % WORDS;
		else
			w = k * (WORDS - 1) / 6;
		val = READ_ONCE(p[w]);
		if (val == word_of(base, w))
			continue;
		if (zero_ok && !val) {
			/* Once it is gone it does not come back. */
			base = 0;
			continue;
		}
		*got = val;
		return w;
	}
	return -1;
}

/* ------------------------------------------------------------------ places */

static const struct {
	int start;
	int pages;
} segs[NR_SEGS] = {
	{ 0, HUGE }, { HUGE, 4 * HUGE }, { 5 * HUGE, HUGE },
};

static inline int seg_of(int page)
{
	return page < segs[1].start ? 0 : page < segs[2].start ? 1 : 2;
}

/* The middle of the arena lies on both sides of this. */
#define ARENA_BORDER GIB

/* The arena needs a region of more than one granule. */
static inline unsigned long fuzz_len(unsigned long granule)
{
	return granule < 3 * GIB ? 3 * GIB : granule;
}

/* The offset in the region, in bytes. */
static inline unsigned long page_offset(int page, unsigned long len)
{
	switch (seg_of(page)) {
	case 0:
		return page * PAGE;
	case 1:
		return ARENA_BORDER - 2 * HUGE * PAGE + (page - HUGE) * PAGE;
	default:
		return len - (ARENA_PAGES - page) * PAGE;
	}
}

/*
 * With several workers, adjacent pages have different owners: every huge page
 * in the middle of the arena, every 16th page elsewhere. So the workers share
 * tables and even mappings.
 */
static inline int part_pages(const struct model *m, int page)
{
	if (m->workers == 1)
		return segs[seg_of(page)].pages;
	return seg_of(page) == 1 ? HUGE : SEQ_PAGES;
}

static inline int owner_of(int workers, int page)
{
	if (workers == 1)
		return 0;
	return seg_of(page) == 1 ? page / HUGE % workers :
				   page / SEQ_PAGES % workers;
}

/* One past the last page of ours that follows page without a gap. */
static inline int part_end(const struct model *m, int page)
{
	int part = part_pages(m, page), start = segs[seg_of(page)].start;

	if (m->workers == 1)
		return start + part;
	return page / part * part + part;
}

/* ----------------------------------------------------------- sequence locks */

/* For a while, readers of these pages cannot know what they will find. */
static inline void seq_begin(struct model *m, int page, int n)
{
	int k;

	if (m->workers == 1)
		return;
	for (k = page / SEQ_PAGES; k <= (page + n - 1) / SEQ_PAGES; k++) {
		if (m->marked[k])
			continue;
		m->marked[k] = true;
		__atomic_store_n(&m->seq[k], m->seq[k] + 1, __ATOMIC_SEQ_CST);
	}
}

static inline void seq_end(struct model *m)
{
	unsigned int k;

	if (m->workers == 1)
		return;
	for (k = 0; k < ARRAY_SIZE(m->seq); k++) {
		if (!m->marked[k])
			continue;
		m->marked[k] = false;
		__atomic_store_n(&m->seq[k], m->seq[k] + 1, __ATOMIC_SEQ_CST);
	}
}

/* ------------------------------------------------------------------- pages */

static inline struct mobj *obj_of(struct model *m, int page)
{
	return &m->obj[m->page[page].obj];
}

static inline bool has_obj(const struct mpage *p)
{
	return p->kind == K_SHARED || p->kind == K_PRIVATE;
}

/* Each access to such a page is a signal, whatever the protection. */
static inline bool beyond_eof(struct model *m, int page)
{
	const struct mpage *p = &m->page[page];

	return has_obj(p) && p->off >= obj_of(m, page)->npages;
}

static inline __u64 content(struct model *m, int page, bool *zero_ok)
{
	const struct mpage *p = &m->page[page];

	*zero_ok = false;
	if (p->kind == K_ANON || (p->kind == K_PRIVATE && p->own)) {
		*zero_ok = p->zero_ok;
		return p->base;
	}
	return obj_of(m, page)->base[p->off];
}

static inline void set_content(struct model *m, int page, __u64 base)
{
	struct mpage *p = &m->page[page];

	if (p->kind == K_SHARED) {
		obj_of(m, page)->base[p->off] = base;
		return;
	}
	p->own = 1;
	p->zero_ok = 0;
	p->base = base;
}

/* A write fault: a private page of a file becomes one of its own. */
static inline void break_cow(struct model *m, int page)
{
	struct mpage *p = &m->page[page];

	if (p->kind == K_PRIVATE && !p->own && !beyond_eof(m, page)) {
		p->own = 1;
		p->zero_ok = 0;
		p->base = obj_of(m, page)->base[p->off];
	}
}

static inline void unmap_page(struct model *m, int page)
{
	struct mpage *p = &m->page[page];

	if (has_obj(p))
		obj_of(m, page)->refs--;
	memset(p, 0, sizeof(*p));
}

static inline void unmap_pages(struct model *m, int page, int n)
{
	while (n--)
		unmap_page(m, page++);
}

static inline void map_pages(struct model *m, int page, int n,
			     const struct mpage *like)
{
	int k;

	unmap_pages(m, page, n);
	for (k = 0; k < n; k++) {
		m->page[page + k] = *like;
		if (has_obj(like)) {
			m->page[page + k].off += k;
			m->obj[like->obj].refs++;
		}
	}
}

/* Everything is gone except for objects with a descriptor. */
static inline void unmap_all(struct model *m)
{
	unmap_pages(m, 0, ARENA_PAGES);
}

/* An object for anonymous shared memory, or -1. */
static inline int new_obj(struct model *m, int npages)
{
	int k;

	for (k = NR_FILES; k < NR_OBJS; k++) {
		if (m->obj[k].refs)
			continue;
		memset(&m->obj[k], 0, sizeof(m->obj[k]));
		m->obj[k].npages = npages;
		return k;
	}
	return -1;
}

static inline void punch_obj(struct model *m, int obj, int off, int n)
{
	for (; n > 0 && off < OBJ_PAGES; n--, off++)
		m->obj[obj].base[off] = 0;
}

/* Private copies beyond the new end are removed, too. */
static inline void truncate_obj(struct model *m, int obj, int npages)
{
	int k;

	for (k = 0; k < ARENA_PAGES; k++) {
		struct mpage *p = &m->page[k];

		if (p->kind == K_PRIVATE && p->obj == obj && p->off >= npages) {
			p->own = 0;
			p->zero_ok = 0;
			p->base = 0;
		}
	}
	punch_obj(m, obj, npages, OBJ_PAGES);
	m->obj[obj].npages = npages;
}

#endif /* _MSHARE_MODEL_H */
