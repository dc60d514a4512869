/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mshare

#if !defined(_TRACE_MSHARE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MSHARE_H

#include <linux/mshare.h>
#include <linux/tracepoint.h>

/* A process has become a sharer: by mshare(), mmap() or fork(). */
TRACE_EVENT(mshare_attach,

	TP_PROTO(struct mshare_region *region, bool writable, int sharers),

	TP_ARGS(region, writable, sharers),

	TP_STRUCT__entry(
		__string(name, mshare_region_name(region))
		__field(bool, writable)
		__field(int, sharers)
	),

	TP_fast_assign(
		__assign_str(name);
		__entry->writable = writable;
		__entry->sharers = sharers;
	),

	TP_printk("region=%s access=%s sharers=%d", __get_str(name),
		  __entry->writable ? "rw" : "ro", __entry->sharers)
);

/* A process is no longer a sharer: no TLB has entries of its window. */
TRACE_EVENT(mshare_detach,

	TP_PROTO(struct mshare_region *region, int sharers),

	TP_ARGS(region, sharers),

	TP_STRUCT__entry(
		__string(name, mshare_region_name(region))
		__field(int, sharers)
	),

	TP_fast_assign(
		__assign_str(name);
		__entry->sharers = sharers;
	),

	TP_printk("region=%s sharers=%d", __get_str(name), __entry->sharers)
);

/* A page fault in a window, before the host handles it. */
TRACE_EVENT(mshare_fault,

	TP_PROTO(struct mshare_region *region, unsigned long address,
		 unsigned long error_code),

	TP_ARGS(region, address, error_code),

	TP_STRUCT__entry(
		__string(name, mshare_region_name(region))
		__field(unsigned long, address)
		__field(unsigned long, error_code)
	),

	TP_fast_assign(
		__assign_str(name);
		__entry->address = address;
		__entry->error_code = error_code;
	),

	TP_printk("region=%s address=%#lx error_code=%#lx", __get_str(name),
		  __entry->address, __entry->error_code)
);

/*
 * A TLB flush of a host, before it is sent to the CPUs of the sharers. @cpus is
 * the number of CPUs that may have to flush. Flushes at the end of a reclaim
 * batch are not traced.
 */
TRACE_EVENT(mshare_flush,

	TP_PROTO(struct mshare_region *region, unsigned long start,
		 unsigned long end, bool freed_tables, int sharers),

	TP_ARGS(region, start, end, freed_tables, sharers),

	TP_STRUCT__entry(
		__string(name, mshare_region_name(region))
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(bool, freed_tables)
		__field(int, sharers)
		__field(int, cpus)
	),

	TP_fast_assign(
		__assign_str(name);
		__entry->start = start;
		__entry->end = end;
		__entry->freed_tables = freed_tables;
		__entry->sharers = sharers;
		__entry->cpus = mshare_nr_cpus(region);
	),

	TP_printk("region=%s range=%#lx-%#lx freed_tables=%d sharers=%d cpus=%d",
		  __get_str(name), __entry->start, __entry->end,
		  __entry->freed_tables, __entry->sharers, __entry->cpus)
);

#endif /* _TRACE_MSHARE_H */

#include <trace/define_trace.h>
