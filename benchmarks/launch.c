/* launch PROGRAM WORD...: runs a program; prints the microseconds from before its fork to its end,
 * and its peak resident memory in KiB.
 *
 * Linux counts what a parent holds into the peak of the program that its child becomes: Python
 * holds more than such a program does, this one less. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return 1e6 * time.tv_sec + 1e-3 * time.tv_nsec;
}

int main(int count, char **words) {
  if (count < 2) return 2;
  const double begun = now_us();
  const pid_t child = fork();
  if (child == 0) {
    execv(words[1], words + 1);
    _exit(127);
  }
  int status;
  struct rusage used;
  if (child < 0 || wait4(child, &status, 0, &used) != child) return 2;
  const double ended = now_us();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 1;
  return printf("%.0f %ld\n", ended - begun, used.ru_maxrss) < 0;
}
