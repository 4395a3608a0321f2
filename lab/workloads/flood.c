/*
 * flood --device ADDRESS --region N [--exports E] [--rejected R] [--vgem V] [--threads T] [--pause US]
 *
 * Makes E exports of one page, each closed immediately, R exports that the
 * kernel must reject (unaligned), and V imports into vgem that it must reject.
 * The kinds of call are evenly mixed. It makes calls as fast as possible, or
 * pauses US microseconds after each one. It prints the actual results, to be
 * compared with the tracer's counts. With --vgem it makes and counts one more
 * export: the buffer for vgem.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "export.h"
#include "text.h"
#include "vfio.h"
#include "vgem.h"

enum { MOST_THREADS = 64, MOST_ERRNO = 256 };
enum kind { GOOD, BAD, VGEM, KINDS };

struct load {
	int device_fd, vgem_fd, shared_buffer;
	uint32_t region, pause;
	uint64_t wanted[KINDS];
	uint64_t accepted[KINDS], rejected[KINDS], by_errno[MOST_ERRNO];
};

static void count(struct load *load, enum kind kind, int ret)
{
	if (ret >= 0) {
		load->accepted[kind]++;
		return;
	}
	load->rejected[kind]++;
	load->by_errno[errno > 0 && errno < MOST_ERRNO ? errno : 0]++;
}

static void once(struct load *load, enum kind kind, uint64_t page)
{
	struct lab_dma_range range = { .length = kind == BAD ? page / 2 : page };
	int fd;

	if (kind == VGEM) {
		count(load, kind, vgem_import(load->vgem_fd, load->shared_buffer));
		return;
	}
	fd = export_ranges(load->device_fd, load->region, 0, 1, &range, 1);
	count(load, kind, fd);
	if (fd >= 0)
		close(fd);
}

static void *run(void *argument)
{
	struct load *load = argument;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t total = load->wanted[GOOD] + load->wanted[BAD] + load->wanted[VGEM];
	uint64_t due[KINDS] = { 0 };

	/* Each round adds a share to each kind; a kind runs when its shares add up to one call. */
	for (uint64_t round = 0; round < total; round++)
		for (int kind = 0; kind < KINDS; kind++) {
			due[kind] += load->wanted[kind];
			if (due[kind] >= total) {
				due[kind] -= total;
				once(load, (enum kind)kind, page);
				if (load->pause)
					usleep(load->pause);
			}
		}
	return NULL;
}

static void report(const struct load *loads, unsigned int threads, double seconds)
{
	struct load all = { 0 };

	for (unsigned int t = 0; t < threads; t++) {
		for (int kind = 0; kind < KINDS; kind++) {
			all.accepted[kind] += loads[t].accepted[kind];
			all.rejected[kind] += loads[t].rejected[kind];
		}
		for (int e = 0; e < MOST_ERRNO; e++)
			all.by_errno[e] += loads[t].by_errno[e];
	}
	/* By the result of the call, not by the intended one. */
	printf("exports=%llu rejected=%llu vgem_accepted=%llu vgem_rejected=%llu",
	       (unsigned long long)(all.accepted[GOOD] + all.accepted[BAD]),
	       (unsigned long long)(all.rejected[GOOD] + all.rejected[BAD]),
	       (unsigned long long)all.accepted[VGEM], (unsigned long long)all.rejected[VGEM]);
	for (int e = 0; e < MOST_ERRNO; e++)
		if (all.by_errno[e])
			printf(" errno_%d=%llu", e, (unsigned long long)all.by_errno[e]);
	printf(" threads=%u seconds=%.3f\n", threads, seconds);
	fflush(stdout);
}

static uint64_t share(uint64_t whole, unsigned int threads, unsigned int index)
{
	return whole / threads + (index < whole % threads);
}

int main(int argument_count, char **words)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "region", required_argument, NULL, 'r' },
		{ "exports", required_argument, NULL, 'e' },
		{ "rejected", required_argument, NULL, 'f' },
		{ "vgem", required_argument, NULL, 'v' },
		{ "threads", required_argument, NULL, 't' },
		{ "pause", required_argument, NULL, 'p' },
		{ 0 },
	};
	static struct load loads[MOST_THREADS];
	struct load whole = { .vgem_fd = -1, .shared_buffer = -1, .region = UINT32_MAX };
	struct lab_dma_range page = { .length = (uint64_t)sysconf(_SC_PAGESIZE) };
	pthread_t threads[MOST_THREADS];
	unsigned int thread_count = 1;
	const char *address = NULL;
	struct timespec begin, end;
	struct device device;

	message_context("flood", NULL);
	for (int letter; (letter = getopt_long(argument_count, words, "", options, NULL)) != -1;)
		switch (letter) {
		case 'd': address = optarg; break;
		case 'r': whole.region = (uint32_t)number(optarg, UINT32_MAX); break;
		case 'e': whole.wanted[GOOD] = number(optarg, UINT32_MAX); break;
		case 'f': whole.wanted[BAD] = number(optarg, UINT32_MAX); break;
		case 'v': whole.wanted[VGEM] = number(optarg, UINT32_MAX); break;
		case 't': thread_count = (unsigned int)number(optarg, MOST_THREADS); break;
		case 'p': whole.pause = (uint32_t)number(optarg, 999999); break;
		default: address = NULL; optind = argument_count + 1; break;
		}
	if (!address || whole.region == UINT32_MAX || !thread_count || optind != argument_count)
		give_up(EXIT_USAGE,
			"needs a device and a region; usage: flood --device ADDRESS --region N [--exports E] [--rejected R] [--vgem V] [--threads T] [--pause US]");
	if (device_open(&device, address, -1))
		give_up(EXIT_ENVIRONMENT, "cannot open %s: %m; does another process use its group?", address);
	whole.device_fd = device.fd;
	if (whole.wanted[VGEM]) {
		whole.vgem_fd = vgem_open();
		whole.shared_buffer = export_ranges(device.fd, whole.region, 0, 1, &page, 1);
		if (whole.shared_buffer < 0)
			give_up(EXIT_ENVIRONMENT, "cannot export a page of region %u of %s: %m", whole.region, address);
	}
	for (unsigned int t = 0; t < thread_count; t++) {
		loads[t] = whole;
		for (int kind = 0; kind < KINDS; kind++)
			loads[t].wanted[kind] = share(whole.wanted[kind], thread_count, t);
	}
	loads[0].accepted[GOOD] += whole.shared_buffer >= 0;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned int t = 0; t < thread_count; t++)
		if (pthread_create(&threads[t], NULL, run, &loads[t]))
			give_up(EXIT_ENVIRONMENT, "cannot start thread %u of %u", t + 1, thread_count);
	for (unsigned int t = 0; t < thread_count; t++)
		pthread_join(threads[t], NULL);
	clock_gettime(CLOCK_MONOTONIC, &end);
	report(loads, thread_count,
	       (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
	return 0;
}
