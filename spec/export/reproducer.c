/* section: includes */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* section: core */
#define NONE -1			/* what a read gives that raised SIGSEGV */
#define MOST_OUTCOMES 64
#define SECONDS 30		/* until a run counts as stuck */
#define BASE ((char *)(1UL << 36))
/*
 * An address of the test stands for a page; in tests about huge pages, for a share of
 * one, of which the first page is looked at and given to GUP.
 */
#ifdef HUGE
#define LENGTH (huge_size / ADDRESSES)
#define STRIDE LENGTH
#define huge_size (2UL << 20)
#else
#define LENGTH ((size_t)page_size)
#define STRIDE (1UL << 20)
#endif

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define MOST_LENGTH (1 << 16)	/* of a page */

static long page_size;
static cpu_set_t allowed;
static long run;

/* What all processes see: whose turn it is, and what was found. */
static struct shared {
	volatile int turn;
	volatile int arrived;
	volatile int finished;
	volatile int skipped;
	char why[128];
	volatile pid_t pid[PROCESSES];
	volatile int live[REFERENCES];
	volatile uint64_t pfn[REFERENCES];
	volatile int found[FOUND];
} *shared;

/* This kernel, or this user, cannot carry out the test. */
static void skip(const char *what)
{
	snprintf(shared->why, sizeof(shared->why), "%s: %s", what, strerror(errno));
	shared->skipped = 1;
	_exit(4);
}

/* The calling thread runs on this one of the CPUs that we may use. */
static void on_cpu(int wanted)
{
	cpu_set_t one;
	int cpu;

	wanted %= CPU_COUNT(&allowed);
	CPU_ZERO(&one);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && wanted-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Wait for a line of the test; those who race on it go on almost together. */
static void turn(int line, int racers)
{
	volatile unsigned int delay;

	while (shared->turn != line) {
		if (shared->skipped)
			_exit(4);
		sched_yield();
	}
	if (racers > 1) {
		__sync_fetch_and_add(&shared->arrived, 1);
		while (shared->arrived < racers && !shared->skipped)
			sched_yield();
		delay = (run * 2654435761u ^ syscall(SYS_gettid) * 40503u) >> 7 & 1023;
		while (delay)
			delay--;
	}
}

static void done(int line, int racers)
{
	if (__sync_add_and_fetch(&shared->finished, 1) < racers)
		return;
	shared->finished = 0;
	shared->arrived = 0;
	__sync_synchronize();
	shared->turn = line + 1;
}

static __thread sigjmp_buf fault;
static __thread volatile int may_fault;

static void on_fault(int signal)
{
	if (may_fault)
		siglongjmp(fault, 1);
	_exit(128 + signal);
}

/* All but the last byte of a page, lest the kernel take it for a zeropage. */
static void __attribute__((noinline)) fill(char *page, int value)
{
	char *end = page + LENGTH;

	for (; page < end; page += page_size) {
		memset(page, value, page_size - 1);
		page[page_size - 1] = -1;
	}
}

static void __attribute__((unused)) store(char *page, int value)
{
	may_fault = 1;
	if (!sigsetjmp(fault, 1))
		fill(page, value);
	may_fault = 0;
}

static int __attribute__((unused)) load(char *page)
{
	volatile int value = NONE;

	may_fault = 1;
	if (!sigsetjmp(fault, 1))
		value = *(volatile unsigned char *)page;
	may_fault = 0;
	return value;
}

/* fork(); with CLONE_PARENT, so that who waits for one can wait for all. */
static void start(int process, void (*body)(void), unsigned long flags)
{
	pid_t pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid < 0)
		skip("clone");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		shared->pid[process] = getpid();
		body();
		for (;;)
			pause();
	}
	shared->pid[process] = pid;
}

static void map_page(char *page)
{
	if (mmap(page, LENGTH, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		skip("mmap");
	madvise(page, LENGTH, MADV_NOHUGEPAGE);
}

static void __attribute__((unused)) wait_for(int process)
{
	waitpid(shared->pid[process], NULL, 0);
	shared->pid[process] = 0;
}

/* section: threads */
static pthread_t thread(void *(*body)(void *))
{
	pthread_t made;

	if ((errno = pthread_create(&made, NULL, body, NULL)))
		skip("pthread_create");
	return made;
}

/* section: vmsplice */
/* FOLL_GET, R/O: the page stays in a pipe. */
static int vmsplice_page(int pipe[2], char *page)
{
	struct iovec iov = { page, page_size };

	if (vmsplice(pipe[1], &iov, 1, 0) > 0)
		return 1;
	if (errno != EFAULT)
		skip("vmsplice");
	return 0;
}

static int peek_pipe(int pipe[2], int aside[2])
{
	unsigned char byte[MOST_LENGTH];

	if (tee(pipe[0], aside[1], page_size, 0) <= 0 ||
	    read(aside[0], byte, page_size) <= 0)
		skip("tee");
	return byte[0];
}

static void __attribute__((unused)) drop_pipe(int pipe[2])
{
	unsigned char byte[MOST_LENGTH];

	if (read(pipe[0], byte, page_size) <= 0)
		skip("read");
}

/* section: ring */
/* FOLL_PIN|FOLL_WRITE|FOLL_LONGTERM: the page is the fixed buffer of an io_uring. */
struct ring {
	int fd;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
	char *page;
};

static void make_ring(struct ring *ring)
{
	struct io_uring_params *p = &ring->p;
	int prot = PROT_READ | PROT_WRITE;

	memset(p, 0, sizeof(*p));
	ring->fd = syscall(__NR_io_uring_setup, 1, p);
	if (ring->fd < 0)
		skip("io_uring_setup");
	ring->sq = mmap(NULL, p->sq_off.array + p->sq_entries * sizeof(__u32), prot,
			MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->cq = mmap(NULL, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
			prot, MAP_SHARED, ring->fd, IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, p->sq_entries * sizeof(struct io_uring_sqe), prot,
			  MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (ring->sq == MAP_FAILED || ring->cq == MAP_FAILED || ring->sqes == MAP_FAILED)
		skip("mmap of io_uring");
}

static int pin_page(struct ring *ring, char *page)
{
	struct iovec iov = { page, page_size };

	if (!syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1))
		return 1;
	if (errno != EFAULT)
		skip("io_uring_register");
	return 0;
}

static void __attribute__((unused)) unpin_page(struct ring *ring)
{
	syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

/* One READ_FIXED (the device writes to the page) or WRITE_FIXED (it reads). */
static void transfer(struct ring *ring, int opcode, int fd, char *page, int length)
{
	unsigned int *tail = (unsigned int *)(ring->sq + ring->p.sq_off.tail);
	unsigned int *array = (unsigned int *)(ring->sq + ring->p.sq_off.array);
	unsigned int *mask = (unsigned int *)(ring->sq + ring->p.sq_off.ring_mask);
	unsigned int *head = (unsigned int *)(ring->cq + ring->p.cq_off.head);
	unsigned int slot = *tail & *mask;
	struct io_uring_sqe *sqe = &ring->sqes[slot];
	struct io_uring_cqe *cqe;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->addr = (unsigned long)page;
	sqe->len = length;
	array[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		skip("io_uring_enter");
	mask = (unsigned int *)(ring->cq + ring->p.cq_off.ring_mask);
	cqe = (struct io_uring_cqe *)(ring->cq + ring->p.cq_off.cqes) + (*head & *mask);
	errno = cqe->res < 0 ? -cqe->res : EIO;
	if (cqe->res != length)
		skip("io_uring transfer");
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
}

static int __attribute__((unused)) device_reads(struct ring *ring, char *page,
						int aside[2])
{
	unsigned char byte;

	transfer(ring, IORING_OP_WRITE_FIXED, aside[1], page, 1);
	if (read(aside[0], &byte, 1) != 1)
		skip("read");
	return byte;
}

static void __attribute__((unused)) device_writes(struct ring *ring, char *page,
						  int value, int aside[2])
{
	char bytes[MOST_LENGTH];

	memset(bytes, value, page_size);
	if (write(aside[1], bytes, page_size) != page_size)
		skip("write");
	transfer(ring, IORING_OP_READ_FIXED, aside[0], page, page_size);
}

/* section: hold */
/*
 * FOLL_PIN, R/O: process_vm_readv() pins the source and copies it to memory where
 * each byte faults first; userfaultfd has the faults wait, and with them the pin.
 */
#define LOOKS 8
/*
 * For each look two bytes are let through. Where the copy moves a byte by way of a
 * register, the one that it stopped at was loaded before; the next is loaded now.
 */
#define LET_THROUGH 2
#define TARGETS (LOOKS * LET_THROUGH + 1)

struct hold {
	int uffd;
	char *targets;
	pid_t pid;
	char *page;
	int looked;
	volatile long result;
	pthread_t thread;
};

static void *copy_to_targets(void *arg)
{
	struct hold *hold = arg;
	struct iovec local[TARGETS], remote = { hold->page, TARGETS };
	long copied;
	int i;

	for (i = 0; i < TARGETS; i++)
		local[i] = (struct iovec){ hold->targets + i * page_size, 1 };
	copied = process_vm_readv(hold->pid, local, TARGETS, &remote, 1, 0);
	hold->result = copied < 0 ? -errno : copied;
	return NULL;
}

/* Wait until the copy stands at the next byte, or has ended. */
static void copy_stands(struct hold *hold)
{
	struct uffd_msg msg;

	while (read(hold->uffd, &msg, sizeof(msg)) < 0) {
		if (hold->result)
			return;
		sched_yield();
	}
}

static int hold_page(struct hold *hold, pid_t pid, char *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	hold->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (hold->uffd < 0)
		skip("userfaultfd");
	hold->targets = mmap(NULL, TARGETS * page_size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(hold->targets, TARGETS * page_size, MADV_NOHUGEPAGE);
	range.range.start = (unsigned long)hold->targets;
	range.range.len = TARGETS * page_size;
	if (ioctl(hold->uffd, UFFDIO_API, &api) ||
	    ioctl(hold->uffd, UFFDIO_REGISTER, &range))
		skip("userfaultfd");
	hold->pid = pid;
	hold->page = page;
	hold->result = hold->looked = 0;
	if ((errno = pthread_create(&hold->thread, NULL, copy_to_targets, hold)))
		skip("pthread_create");
	copy_stands(hold);
	errno = -hold->result;
	if (hold->result == -EFAULT)
		return 0;
	if (hold->result)
		skip("process_vm_readv");
	return 1;
}

static int __attribute__((unused)) peek_hold(struct hold *hold)
{
	char *target = NULL;
	int i;

	for (i = 0; i < LET_THROUGH; i++) {
		struct uffdio_zeropage zero = { .range.len = page_size };

		target = hold->targets + hold->looked++ * page_size;
		zero.range.start = (unsigned long)target;
		if (ioctl(hold->uffd, UFFDIO_ZEROPAGE, &zero))
			skip("UFFDIO_ZEROPAGE");
		copy_stands(hold);
	}
	return *(volatile unsigned char *)target;
}

static void __attribute__((unused)) drop_hold(struct hold *hold)
{
	close(hold->uffd);
	pthread_join(hold->thread, NULL);
}

/* section: brief pin */
/* FOLL_PIN, R/O, for the time of the call. */
static int pin_briefly(char *page)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { page, 1 };

	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1)
		return 1;
	if (errno != EFAULT)
		skip("process_vm_readv");
	return 0;
}

/* section: futex */
/* FOLL_GET|FOLL_WRITE, for the time of the call. */
static int get_briefly(char *page)
{
	if (syscall(SYS_futex, page, FUTEX_WAKE, 0, NULL, NULL, 0) >= 0)
		return 1;
	if (errno != EFAULT)
		skip("futex");
	return 0;
}

/* section: force */
/* FOLL_FORCE through /proc/self/mem. */
static void force_write(char *page, int value)
{
	char bytes[MOST_LENGTH], *end = page + LENGTH;
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip("/proc/self/mem");
	memset(bytes, value, page_size);
	for (; page < end; page += page_size)
		if (pwrite(fd, bytes, page_size, (unsigned long)page) < 0 && errno != EIO)
			skip("/proc/self/mem");
	close(fd);
}

/* section: pagemap */
/* Documentation/admin-guide/mm/pagemap.rst */
#define PM_PFRAME ((1ULL << 55) - 1)
#define PM_SOFT_DIRTY (1ULL << 55)
#define PM_SWAP (1ULL << 62)
#define PM_PRESENT (1ULL << 63)
#define KPF_ANON_EXCLUSIVE (1ULL << 34)

static uint64_t entry_of(const char *file, uint64_t index)
{
	uint64_t entry = 0;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), index * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry;
}

static uint64_t __attribute__((unused)) pagemap_of(pid_t pid, char *page)
{
	char file[64];

	snprintf(file, sizeof(file), "/proc/%d/pagemap", pid);
	return entry_of(file, (unsigned long)page / page_size);
}

/* The page frame that a process maps, 0 if it maps none or hides it. */
static uint64_t __attribute__((unused)) pfn_of(int process, char *page)
{
	uint64_t entry = pagemap_of(shared->pid[process], page);

	return entry & PM_PRESENT ? entry & PM_PFRAME : 0;
}

/* The page frame that was mapped when a reference was taken. */
static uint64_t __attribute__((unused)) pfn_held(int reference)
{
	return shared->live[reference] ? shared->pfn[reference] : 0;
}

static int __attribute__((unused)) frames_are_visible(void)
{
	static volatile int touched;

	touched = 1;
	return !!(pagemap_of(getpid(), (char *)&touched) & PM_PFRAME);
}

static int __attribute__((unused)) same(uint64_t left, uint64_t right)
{
	if (!frames_are_visible())
		return NONE;
	return left && left == right;
}

static int __attribute__((unused)) exclusive(uint64_t pfn)
{
	static int shown = NONE;
	char *fresh = BASE - STRIDE;

	/* A page just written must show the bit, else the kernel shows none. */
	if (shown == NONE) {
		map_page(fresh);
		store(fresh, 1);
		shown = !!(entry_of("/proc/kpageflags", pagemap_of(getpid(), fresh) &
				    PM_PFRAME) & KPF_ANON_EXCLUSIVE);
		munmap(fresh, LENGTH);
	}
	if (!shown)
		return NONE;
	return pfn && entry_of("/proc/kpageflags", pfn) & KPF_ANON_EXCLUSIVE ? 1 : 0;
}

static int __attribute__((unused)) swapped(int process, char *page)
{
	return !!(pagemap_of(shared->pid[process], page) & PM_SWAP);
}

/* section: write protection */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* UFFDIO_WRITEPROTECT; with WP_ASYNC (6.7) a write lifts it by itself. */
static void write_protect(char *page, int mode)
{
	static int fd;
	static pid_t owner;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = mode };

	if (owner != getpid()) {
		fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
			skip("userfaultfd with WP_ASYNC");
		owner = getpid();
	}
	range.range.start = wp.range.start = (unsigned long)page;
	range.range.len = wp.range.len = LENGTH;
	if (ioctl(fd, UFFDIO_REGISTER, &range))
		skip("UFFDIO_REGISTER");
	/* What is not mapped is not protected: it would get a marker. */
	if (pagemap_of(getpid(), page) & PM_PRESENT && ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
		skip("UFFDIO_WRITEPROTECT");
}

/* section: swap */
static void pageout(char *page)
{
	FILE *swaps = fopen("/proc/swaps", "r");
	char row[256];
	int rows = 0;

	while (swaps && fgets(row, sizeof(row), swaps))
		rows++;
	if (swaps)
		fclose(swaps);
	errno = ENODEV;
	if (rows < 2)
		skip("no swap is on");
	if (madvise(page, LENGTH, MADV_PAGEOUT) && errno != ENOMEM)
		skip("MADV_PAGEOUT");
}

/* section: migrate */
#define MPOL_MF_MOVE_ALL 4

/* To the other NUMA node. */
static void migrate(char *page)
{
	void *pages[1] = { page };
	int node, status = -1;

	if (syscall(SYS_move_pages, 0, 1, pages, NULL, &status, 0))
		skip("move_pages");
	if (status < 0)
		return;
	node = !status;
	if (syscall(SYS_move_pages, 0, 1, pages, &node, &status, MPOL_MF_MOVE_ALL) < 0)
		skip("no second NUMA node");
}

/* section: softdirty */
static void clear_soft_dirty(void)
{
	static volatile int touched;
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	touched = 1;
	errno = EOPNOTSUPP;
	if (!(pagemap_of(getpid(), (char *)&touched) & PM_SOFT_DIRTY))
		skip("no soft-dirty tracking");
	if (fd < 0 || write(fd, "4", 1) != 1)
		skip("/proc/self/clear_refs");
	close(fd);
}

/* section: mremap */
static void move(char *page, char *target)
{
	mremap(page, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, target);
}

/* section: huge */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif

/* khugepaged must not make a huge page; only we do. */
static void allow_huge_pages(int advice)
{
	if (madvise(BASE, huge_size, advice))
		skip("no transparent huge pages");
}

static void __attribute__((unused)) map_huge_page(void)
{
	allow_huge_pages(MADV_HUGEPAGE);
	for (int i = 0; i < ADDRESSES; i++)
		fill(BASE + i * STRIDE, 0);
	allow_huge_pages(MADV_NOHUGEPAGE);
}

static void __attribute__((unused)) collapse(void)
{
	allow_huge_pages(MADV_HUGEPAGE);
	if (madvise(BASE, huge_size, MADV_COLLAPSE) && errno == EINVAL)
		skip("MADV_COLLAPSE");
	allow_huge_pages(MADV_NOHUGEPAGE);
}

/* Another protection for a part of it, for a moment. */
static void __attribute__((unused)) split_pmd(char *page)
{
	page += LENGTH - page_size;
	mprotect(page, page_size, PROT_NONE);
	mprotect(page, page_size, PROT_READ | PROT_WRITE);
}

/* Advice for a part of it splits the folio first. */
static void __attribute__((unused)) split_folio(char *page)
{
	madvise(page + LENGTH - page_size, page_size, MADV_COLD);
}

/* section: main */
/* Some outcome and how often it was seen. */
static struct outcome {
	int found[FOUND];
	long times;
} outcomes[MOST_OUTCOMES];

static void count(void)
{
	struct outcome *each = outcomes;
	int i;

	for (; each < outcomes + MOST_OUTCOMES - 1 && each->times; each++) {
		for (i = 0; i < FOUND && each->found[i] == shared->found[i]; i++)
			;
		if (i == FOUND)
			break;
	}
	for (i = 0; i < FOUND; i++)
		each->found[i] = shared->found[i];
	each->times++;
}

/* One run, in a process of its own: it holds references, and forks the others. */
static void run_once(void)
{
	int status, i;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	for (i = 0; i < FOUND; i++)
		shared->found[i] = NONE;
	shared->turn = 1;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(SECONDS);
		signal(SIGSEGV, on_fault);
		signal(SIGBUS, on_fault);
		on_cpu(0);
		hold_references();
		for (i = 0; i < PROCESSES; i++)
			if (shared->pid[i])
				kill(shared->pid[i], SIGKILL);
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (shared->skipped) {
		printf("1..0 # SKIP %s\n", shared->why);
		exit(4);
	}
	if (status) {
		for (i = 0; i < PROCESSES; i++)
			if (shared->pid[i])
				kill(shared->pid[i], SIGKILL);
		printf("Bail out! a run did not come to its end (status %d)\n", status);
		exit(1);
	}
	count();
}

static void report_outcomes(long runs)
{
	struct outcome *each;
	int i;

	printf("# %ld run%s\n", runs, runs == 1 ? "" : "s");
	for (each = outcomes; each < outcomes + MOST_OUTCOMES && each->times; each++) {
		printf("# %8ld:", each->times);
		for (i = 0; i < FOUND; i++) {
			printf("%s %s = ", i ? "," : "", names[i]);
			if (each->found[i] == NONE)
				printf("none");
			else
				printf("%d", each->found[i]);
		}
		printf("\n");
	}
}

/* Whether a condition held in all runs; NONE if it could not be looked at. */
static int verdict(int (*holds)(const int *found))
{
	struct outcome *each;
	int all = 1, here;

	for (each = outcomes; each < outcomes + MOST_OUTCOMES && each->times; each++) {
		here = holds(each->found);
		if (here == 0)
			return 0;
		if (here == NONE)
			all = NONE;
	}
	return all;
}

int main(int argc, char **argv)
{
	long runs = argc > 1 ? atol(argv[1]) : RUNS;
	int number, result, failed = 0, judged = 0;

	if (runs < 1) {
		fprintf(stderr, "usage: %s [RUNS]\n", argv[0]);
		return 2;
	}
	page_size = sysconf(_SC_PAGESIZE);
	sched_getaffinity(0, sizeof(allowed), &allowed);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	printf("TAP version 13\n");
	for (run = 0; run < runs; run++)
		run_once();
	printf("1..%d\n", CONDITIONS);
	report_outcomes(runs);
	for (number = 0; number < CONDITIONS; number++) {
		result = verdict(conditions[number].holds);
		printf("%sok %d %s%s\n", result ? "" : "not ", number + 1,
		       conditions[number].text, result == NONE ? " # SKIP not visible" : "");
		failed += result == 0;
		judged += result != NONE;
	}
	return failed ? 1 : judged ? 0 : 4;
}
