/*
 * Loops over what an interruption at the wrong moment breaks: targets of EXECUTE, which the CPU has
 * in hand beside its PSW, and condition codes, which an emulator computes late. Runs until the file
 * /run/stop exists, then prints how many rounds it did and how many results were wrong.
 */

#define CHECK_STOP 0x10000

static long system_call(long number, long a, long b, long c)
{
	register long r1 __asm__("1") = number;
	register long r2 __asm__("2") = a;
	register long r3 __asm__("3") = b;
	register long r4 __asm__("4") = c;

	__asm__ volatile("svc 0" : "+d"(r2) : "d"(r1), "d"(r3), "d"(r4) : "memory", "cc");
	return r2;
}

/* value + 1, by an AGHI that is the target of an EXECUTE. */
static unsigned long execute(unsigned long value)
{
	unsigned long target;

	__asm__ volatile("larl %1,1f\n"
			 "	ex 0,0(%1)\n"
			 "	j 2f\n"
			 "1:	aghi %0,1\n"
			 "2:"
			 : "+d"(value), "=&a"(target) : : "cc");
	return value;
}

/* The condition code of a sign test, two blocks later. */
static unsigned long sign(long value)
{
	unsigned long cc;

	__asm__ volatile("ltgr %1,%1\n"
			 "	j 1f\n"
			 "1:	j 2f\n"
			 "2:	ipm %0\n"
			 "	srl %0,28"
			 : "=d"(cc) : "d"(value) : "cc");
	return cc & 3;
}

/* The condition code of a test under mask 8001, two blocks later. */
static unsigned long mask(unsigned long value)
{
	unsigned long cc;

	__asm__ volatile("tmll %1,0x8001\n"
			 "	j 1f\n"
			 "1:	j 2f\n"
			 "2:	ipm %0\n"
			 "	srl %0,28"
			 : "=d"(cc) : "d"(value) : "cc");
	return cc & 3;
}

static char *decimal(char *end, unsigned long value)
{
	do
		*--end = '0' + value % 10;
	while (value /= 10);
	return end;
}

void _start(void)
{
	static const long signs[4] = { 0, -1, 1, 0 };
	static const unsigned char sign_codes[4] = { 0, 1, 2, 0 };
	static const unsigned long masks[4] = { 0, 1, 0x8000, 0x8001 };
	static char line[64];
	unsigned long rounds = 0, wrong = 0, sum = 0;
	char *text = line + sizeof(line);

	do {
		unsigned long i = rounds & 3;

		sum = execute(sum);
		wrong += sum != ++rounds;
		sum = rounds;
		wrong += sign(signs[i]) != sign_codes[i];
		wrong += mask(masks[i]) != i;
	} while (rounds % CHECK_STOP || system_call(33, (long)"/run/stop", 0, 0) != 0);

	*--text = '\n';
	text = decimal(text, wrong);
	*--text = ' ';
	text = decimal(text, rounds);
	system_call(4, 1, (long)text, line + sizeof(line) - text);
	system_call(1, 0, 0, 0);
}
