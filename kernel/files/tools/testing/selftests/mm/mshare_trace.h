/* SPDX-License-Identifier: GPL-2.0-only */
/* Read what mshare's tracepoints report; needs mshare_helpers.h. */
#ifndef _MSHARE_TRACE_H
#define _MSHARE_TRACE_H

#define TRACEFS	"/sys/kernel/tracing/"

static inline bool trace_have(void)
{
	if (access(TRACEFS "trace", W_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	return !access(TRACEFS "events/mshare/enable", W_OK);
}

static inline long trace_clear(void)
{
	return spew(TRACEFS "trace", "");
}

/*
 * To record the names of processes, and to follow set_event_pid, the kernel
 * patches hot paths such as sched_wakeup. QEMU before 8.1 may then execute a
 * breakpoint that has already been removed ("Oops: int3"). No test needs names.
 */
static inline long trace_names(const char *on)
{
	return spew(TRACEFS "options/record-cmd", on);
}

static inline long trace_begin(void)
{
	return trace_clear() ?:
	       trace_names("0") ?:
	       spew(TRACEFS "events/mshare/enable", "1") ?:
	       spew(TRACEFS "tracing_on", "1");
}

static inline long trace_end(void)
{
	return spew(TRACEFS "events/mshare/enable", "0") ?: trace_names("1");
}

/* The number of lines of the trace that contain both words. */
static inline int traced(const char *event, const char *word)
{
	static char buf[1048576];
	char *line, *next;
	int n = 0;

	if (slurp(TRACEFS "trace", buf, sizeof(buf)) < 0)
		return -1;
	for (line = buf; *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = 0;
		n += strstr(line, event) && strstr(line, word);
	}
	return n;
}

#endif /* _MSHARE_TRACE_H */
