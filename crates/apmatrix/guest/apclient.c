/*
 * apclient: the test client inside the guest. It sends RSA requests of a vector file to the AP
 * queues through /dev/z90crypt and compares what comes back.
 *
 *   apclient run VECTORS [--requesters N]                every record once, compared
 *   apclient bench VECTORS [--seconds S | --until FILE] [--requesters N]
 *                                                        records again and again
 *   apclient one VECTORS INDEX                           one record, its result in hex
 *   apclient hold VECTORS N                              N requests at once, a line for each end
 *   apclient count                                       requests that the AP queues have counted
 *
 * Exit code: 0 as expected, 1 a difference or a refused request, 2 wrong usage or no device.
 *
 * Vector file, all numbers big endian (written by crates/apmatrix/src/launch/vectors.rs):
 *   8 bytes "APVECTOR", u32 version 1, u32 number of records, then for each record
 *   u32 kind (1 mod-expo, 2 CRT), u32 bits (a label), u32 n (operand bytes), u32 expected errno,
 *   mod-expo: input n, exponent n, modulus n
 *   CRT:      input n, dp n/2+8, dq n/2, p n/2+8, q n/2, u n/2+8
 *   then the expected output, n bytes (zeros where an errno is expected).
 * Operands are right justified; the eight leading bytes of dp, p and u are zero, as the kernel wants.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/z90crypt"
#define HEADER_SIZE 16
#define MAX_BYTES 512
#define MAX_REQUESTERS 256
#define SHOWN_FAILURES 5
#define PREFIX 16

enum { KIND_MODEXPO = 1, KIND_CRT = 2 };

/* What the two ioctls take. */
struct modexpo {
	char *input;
	unsigned int input_size;
	char *output;
	unsigned int output_size;
	char *exponent;
	char *modulus;
};

struct crt {
	char *input;
	unsigned int input_size;
	char *output;
	unsigned int output_size;
	char *dp;
	char *dq;
	char *p;
	char *q;
	char *u;
};

/* The kernel's numbers carry no structure size. */
#define ICA_MODEXPO _IOC(_IOC_READ | _IOC_WRITE, 'z', 5, 0)
#define ICA_CRT _IOC(_IOC_READ | _IOC_WRITE, 'z', 6, 0)

struct record {
	uint32_t kind, bits, size, expected;
	char *operands; /* input first */
	char *output;
};

struct vectors {
	uint32_t count;
	struct record *records;
};

/* How one record went; shared between the processes. */
struct outcome {
	int error;
	int passed;
	unsigned char got[PREFIX];
};

static void fail(const char *what, const char *name)
{
	fprintf(stderr, "apclient: %s %s: %s\n", what, name, strerror(errno));
	exit(2);
}

static void bad_file(const char *name, const char *why)
{
	fprintf(stderr, "apclient: %s is not a vector file: %s\n", name, why);
	exit(2);
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("cannot get", "shared memory");
	return memory;
}

static uint32_t number(const char *at)
{
	const unsigned char *b = (const unsigned char *)at;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static size_t operands_size(const struct record *r)
{
	return r->kind == KIND_MODEXPO ? 3u * r->size : r->size + 5u * (r->size / 2) + 24u;
}

static struct vectors load(const char *name)
{
	struct vectors v;
	struct stat status;
	char *at, *end;
	int fd = open(name, O_RDONLY);

	if (fd < 0 || fstat(fd, &status) < 0)
		fail("cannot read", name);
	if (status.st_size < HEADER_SIZE)
		bad_file(name, "too short");
	at = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		fail("cannot read", name);
	close(fd);
	end = at + status.st_size;
	if (memcmp(at, "APVECTOR", 8) != 0 || number(at + 8) != 1)
		bad_file(name, "wrong magic or version");
	v.count = number(at + 12);
	/* A record has at least its own header, so the count cannot ask for absurd memory. */
	if (v.count > (size_t)status.st_size / 16)
		bad_file(name, "more records than bytes");
	v.records = calloc(v.count ? v.count : 1, sizeof(*v.records));
	if (!v.records)
		fail("cannot read", name);
	at += HEADER_SIZE;
	for (uint32_t i = 0; i < v.count; i++) {
		struct record *r = &v.records[i];

		if (end - at < 16)
			bad_file(name, "too short");
		*r = (struct record){ number(at), number(at + 4), number(at + 8), number(at + 12), at + 16, NULL };
		if ((r->kind != KIND_MODEXPO && r->kind != KIND_CRT) || r->size > MAX_BYTES)
			bad_file(name, "wrong record");
		at += 16;
		if ((size_t)(end - at) < operands_size(r) + r->size)
			bad_file(name, "too short");
		r->output = at + operands_size(r);
		at = r->output + r->size;
	}
	if (at != end)
		bad_file(name, "bytes after the last record");
	return v;
}

static int open_device(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("cannot open", DEVICE);
	return fd;
}

/* Sends one record; returns 0 or the errno. */
static int request(int fd, const struct record *r, char *output)
{
	char *in = r->operands;
	unsigned int n = r->size, half = n / 2;
	int result;

	if (r->kind == KIND_MODEXPO) {
		struct modexpo m = { in, n, output, n, in + n, in + 2 * n };

		result = ioctl(fd, ICA_MODEXPO, &m);
	} else {
		char *dp = in + n, *dq = dp + half + 8, *p = dq + half, *q = p + half + 8;
		struct crt c = { in, n, output, n, dp, dq, p, q, q + half };

		result = ioctl(fd, ICA_CRT, &c);
	}
	return result < 0 ? errno : 0;
}

static int as_expected(const struct record *r, int error, const char *output)
{
	if (error != (int)r->expected)
		return 0;
	return error || memcmp(output, r->output, r->size) == 0;
}

static void check(int fd, const struct record *r, struct outcome *o)
{
	char output[MAX_BYTES] = { 0 };

	o->error = request(fd, r, output);
	o->passed = as_expected(r, o->error, output);
	memcpy(o->got, output, PREFIX);
}

static const char *error_name(int error)
{
	const char *name = error ? strerrorname_np(error) : "ok";

	return name ? name : "unknown";
}

static const char *kind_name(uint32_t kind)
{
	return kind == KIND_MODEXPO ? "modexpo" : "crt";
}

static void print_hex(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)bytes)[i]);
}

/* Runs `work` in `n` processes and waits for all; returns how many did not exit with 0. */
static int in_processes(int n, void (*work)(int, void *), void *data)
{
	int bad = 0, status;

	fflush(stdout);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("cannot start", "a requester");
		if (pid == 0) {
			work(i, data);
			fflush(stdout);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		bad += status != 0;
	return bad;
}

struct run {
	struct vectors vectors;
	struct outcome *outcomes;
	int requesters;
};

static void run_some(int index, void *data)
{
	struct run *run = data;
	int fd = open_device();

	for (uint32_t i = index; i < run->vectors.count; i += run->requesters)
		check(fd, &run->vectors.records[i], &run->outcomes[i]);
}

static int same_class(const struct record *a, const struct record *b)
{
	return a->kind == b->kind && a->bits == b->bits && a->expected == b->expected;
}

/* One line for each class of records, in the order in which the classes first appear. */
static void print_classes(const struct run *run)
{
	const struct record *records = run->vectors.records;

	for (uint32_t i = 0; i < run->vectors.count; i++) {
		uint32_t passed = 0, failed = 0, before = 0;

		while (before < i && !same_class(&records[before], &records[i]))
			before++;
		if (before < i)
			continue;
		for (uint32_t j = i; j < run->vectors.count; j++)
			if (same_class(&records[i], &records[j]))
				*(run->outcomes[j].passed ? &passed : &failed) += 1;
		printf("%s %u %s %u", kind_name(records[i].kind), records[i].bits, error_name(records[i].expected), passed);
		if (failed)
			printf(" failed %u", failed);
		printf("\n");
	}
}

static void print_failure(uint32_t index, const struct record *r, const struct outcome *o)
{
	size_t shown = r->size < PREFIX ? r->size : PREFIX;

	printf("failure %u %s %u: expected %s, got %s", index, kind_name(r->kind), r->bits, error_name(r->expected), error_name(o->error));
	if (!r->expected && !o->error) {
		printf("; expected ");
		print_hex(r->output, shown);
		printf(", got ");
		print_hex(o->got, shown);
	}
	printf("\n");
}

static int run(const char *file, int requesters)
{
	struct run run = { load(file), NULL, requesters };
	uint32_t failed = 0;
	int lost;

	run.outcomes = shared_memory(run.vectors.count * sizeof(*run.outcomes));
	lost = in_processes(requesters, run_some, &run);
	print_classes(&run);
	for (uint32_t i = 0; i < run.vectors.count; i++) {
		if (run.outcomes[i].passed)
			continue;
		if (failed++ < SHOWN_FAILURES)
			print_failure(i, &run.vectors.records[i], &run.outcomes[i]);
	}
	printf("total %u passed %u failed %u\n", run.vectors.count, run.vectors.count - failed, failed);
	return failed || lost;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

struct bench {
	struct vectors vectors;
	double end;
	const char *until; /* a file whose appearance ends it, or none */
	uint64_t *done; /* one for each process */
};

static int bench_goes_on(const struct bench *b)
{
	return b->until ? access(b->until, F_OK) != 0 : now() < b->end;
}

static void bench_some(int index, void *data)
{
	struct bench *b = data;
	int fd = open_device();
	uint32_t at = index % b->vectors.count;
	struct outcome o;

	while (bench_goes_on(b)) {
		check(fd, &b->vectors.records[at], &o);
		if (!o.passed) {
			print_failure(at, &b->vectors.records[at], &o);
			fflush(stdout);
			_exit(1);
		}
		b->done[index]++;
		at = (at + 1) % b->vectors.count;
	}
}

static int bench(const char *file, double seconds, const char *until, int requesters)
{
	struct bench b = { load(file), 0, until, shared_memory(requesters * sizeof(uint64_t)) };
	double start = now(), took;
	uint64_t total = 0;
	int bad;

	if (b.vectors.count == 0)
		bad_file(file, "no records");
	b.end = start + seconds;
	bad = in_processes(requesters, bench_some, &b);
	took = now() - start;
	for (int i = 0; i < requesters; i++)
		total += b.done[i];
	printf("ops %llu seconds %.3f per-second %.1f\n", (unsigned long long)total, took, total / took);
	return bad != 0;
}

static int one(const char *file, uint32_t index)
{
	struct vectors v = load(file);
	char output[MAX_BYTES] = { 0 };
	int error;

	if (index >= v.count)
		bad_file(file, "no such record");
	error = request(open_device(), &v.records[index], output);
	if (error)
		printf("errno %s\n", error_name(error));
	else {
		print_hex(output, v.records[index].size);
		printf("\n");
	}
	return error != 0;
}

static void hold_one(int index, void *data)
{
	struct vectors *v = data;
	uint32_t at = index % v->count;
	struct outcome o;
	const char *how;

	check(open_device(), &v->records[at], &o);
	how = o.error ? error_name(o.error) : o.passed ? "ok" : "wrong";
	/* One write for a line: the lines of the processes do not mix. */
	printf("request %d %s\n", index, how);
	fflush(stdout);
	_exit(!o.passed);
}

static int hold(const char *file, int requesters)
{
	struct vectors v = load(file);
	int bad;

	if (v.count == 0)
		bad_file(file, "no records");
	printf("holding %d\n", requesters);
	bad = in_processes(requesters, hold_one, &v);
	printf("finished %d refused-or-wrong %d\n", requesters, bad);
	return bad != 0;
}

static int count(void)
{
	unsigned long long sum = 0, value;
	glob_t found;

	if (glob("/sys/devices/ap/card*/*.*/request_count", 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++) {
			FILE *f = fopen(found.gl_pathv[i], "r");

			/* A queue may vanish between the search and here. */
			if (!f)
				continue;
			if (fscanf(f, "%llu", &value) == 1)
				sum += value;
			fclose(f);
		}
	}
	printf("%llu\n", sum);
	return 0;
}

static void usage(void)
{
	fprintf(stderr, "usage: apclient run VECTORS [--requesters N]\n"
			"       apclient bench VECTORS [--seconds S | --until FILE] [--requesters N]\n"
			"       apclient one VECTORS INDEX\n"
			"       apclient hold VECTORS N\n"
			"       apclient count\n");
	exit(2);
}

static unsigned long whole(const char *text, unsigned long least, unsigned long most)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value < least || value > most)
		usage();
	return value;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	unsigned long requesters = 1, seconds = 5;
	const char *until = NULL;

	if (!strcmp(verb, "count") && argc == 2)
		return count();
	if (argc < 3)
		usage();
	if (!strcmp(verb, "one") && argc == 4)
		return one(argv[2], whole(argv[3], 0, UINT32_MAX));
	if (!strcmp(verb, "hold") && argc == 4)
		return hold(argv[2], whole(argv[3], 1, MAX_REQUESTERS));
	for (int i = 3; i < argc; i += 2) {
		if (i + 1 == argc)
			usage();
		if (!strcmp(argv[i], "--requesters"))
			requesters = whole(argv[i + 1], 1, MAX_REQUESTERS);
		else if (!strcmp(argv[i], "--seconds") && !strcmp(verb, "bench"))
			seconds = whole(argv[i + 1], 1, 86400);
		else if (!strcmp(argv[i], "--until") && !strcmp(verb, "bench"))
			until = argv[i + 1];
		else
			usage();
	}
	if (!strcmp(verb, "run"))
		return run(argv[2], requesters);
	if (!strcmp(verb, "bench"))
		return bench(argv[2], seconds, until, requesters);
	usage();
	return 2;
}
