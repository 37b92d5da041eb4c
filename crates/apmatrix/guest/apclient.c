#include <stdio.h>
int main(void) { puts("apclient"); return 0; }
