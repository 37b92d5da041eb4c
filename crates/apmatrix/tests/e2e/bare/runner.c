/*
 * Runs pieces of s390x code, one after the other, on a machine without an operating system, and
 * prints on the SCLP console what each of them left behind. It knows nothing about the code: the
 * test that loads it puts the pieces into memory (tests/e2e/bare.rs) and judges the results.
 *
 * A piece starts with all registers and the PSW given, and ends with SVC or a program exception.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

/* A piece as the test describes it. */
struct step {
	u64 psw_mask;
	u64 psw_address;
	u64 registers[16];
	/* Memory to print afterwards. */
	u64 dump;
	u64 dump_length;
};

/* What the test loads at SCRIPT. */
struct script {
	u64 count;
	struct step steps[];
};

#define SCRIPT 0x200000

/* Low core. Defined by the architecture: */
#define SVC_CODE 0x88
#define PROGRAM_CODE 0x8c
#define SVC_OLD_PSW 0x140
#define PROGRAM_OLD_PSW 0x150
#define SVC_NEW_PSW 0x1c0
#define PROGRAM_NEW_PSW 0x1d0
/* Our own, also known to the assembly below: registers before and after, and the PSW. */
#define BEFORE 0x400
#define AFTER 0x480
#define START_PSW 0x580

#define MASK_64_BIT 0x0000000180000000ul
#define NO_INTERRUPTION 0xfffffffful

void run(void);
void finished(void);
void main(void);

__asm__(
	"	.text\n"
	"	.globl	_start\n"
	"_start:\n"
	"	larl	%r15, stack_end\n"
	"	aghi	%r15, -160\n"
	"	brasl	%r14, main\n"
	/* Nothing to do any more, with the address that means: power off. */
	"	larl	%r1, power_off\n"
	"	lpswe	0(%r1)\n"
	"	.globl	run\n"
	"run:\n"
	"	stmg	%r6, %r15, 48(%r15)\n"
	"	stg	%r15, 0x578\n"
	"	lmg	%r0, %r15, 0x400\n"
	"	lpswe	0x580\n"
	"	.globl	finished\n"
	"finished:\n"
	"	stmg	%r0, %r15, 0x480\n"
	"	lg	%r15, 0x578\n"
	"	lmg	%r6, %r15, 48(%r15)\n"
	"	br	%r14\n"
	"	.balign	8\n"
	"power_off:\n"
	"	.quad	0x0002000180000000, 0xfff\n"
	"	.bss\n"
	"	.balign	4096\n"
	"	.skip	8192\n"
	"stack_end:\n"
	"	.text\n");

/* Memory at an absolute address that the compiler must not reason about. */
static volatile u64 *at(u64 address)
{
	__asm__("" : "+r"(address));
	return (volatile u64 *)address;
}

/* The console: "write event data" with one event, text for the ASCII console. */
static struct {
	u16 length;
	u8 function;
	u8 control[3];
	u16 response;
	u16 event_length;
	u8 event_type;
	u8 event_flags;
	u16 event_reserved;
	char text[4000];
} sccb __attribute__((aligned(4096)));

static u16 used;

static void character(char c)
{
	if (used < sizeof(sccb.text))
		sccb.text[used++] = c;
}

static void number(u64 value, int digits)
{
	for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
		character("0123456789abcdef"[value >> shift & 15]);
}

static void separate(void)
{
	character(' ');
}

static void print(void)
{
	character('\n');
	sccb.event_length = used + 6;
	sccb.length = used + 14;
	sccb.event_type = 0x1a;
	__asm__ volatile(".insn rre,0xb2200000,%0,%1"
			 : : "d"(0x00760005ul), "d"((u64)&sccb) : "cc", "memory");
	used = 0;
}

static void perform(const struct step *step)
{
	for (int i = 0; i < 16; i++)
		*at(BEFORE + 8 * i) = step->registers[i];
	*at(START_PSW) = step->psw_mask;
	*at(START_PSW + 8) = step->psw_address;
	*at(SVC_CODE) = NO_INTERRUPTION << 32 | NO_INTERRUPTION;
	run();

	u64 codes = *at(SVC_CODE);
	u64 old = (codes & NO_INTERRUPTION) == NO_INTERRUPTION ? SVC_OLD_PSW : PROGRAM_OLD_PSW;
	number(codes >> 32, 8);
	separate();
	number(codes, 8);
	separate();
	number(*at(old), 16);
	separate();
	number(*at(old + 8), 16);
	for (int i = 0; i < 16; i++) {
		separate();
		number(*at(AFTER + 8 * i), 16);
	}
	separate();
	for (u64 i = 0; i < step->dump_length; i++)
		number(((const u8 *)step->dump)[i], 2);
	print();
}

void main(void)
{
	const struct script *script = (const struct script *)SCRIPT;

	/* A machine that was reset has loaded the program anew, but not cleared what the program had not initialised. */
	used = 0;
	*at(SVC_NEW_PSW) = *at(PROGRAM_NEW_PSW) = MASK_64_BIT;
	*at(SVC_NEW_PSW + 8) = *at(PROGRAM_NEW_PSW + 8) = (u64)finished;
	for (u64 i = 0; i < script->count; i++)
		perform(&script->steps[i]);
}
