import { cpuBetween, readCpuTimes, readMachineMicros, type CpuTimes, type Roles } from './cpu.js';

export interface CpuUse {
  readonly roles: CpuTimes;
  /** What the rest of the machine used. */
  readonly restMicros: number;
  readonly elapsedMicros: number;
}

/** Reads who uses the CPU from now on; undefined where the system does not tell. */
export function startCpuClock(roles: Roles): { read(): CpuUse | undefined } {
  const startedAt = performance.now();
  const machineBefore = readMachineMicros();
  const before = readCpuTimes(roles);
  return {
    read() {
      const after = readCpuTimes(roles);
      const machineAfter = readMachineMicros();
      if (!before || !after || machineBefore === undefined || machineAfter === undefined) return undefined;
      const used = cpuBetween(before, after);
      const ours = Object.values(used).reduce((sum, micros) => sum + micros, 0);
      return {
        roles: used,
        restMicros: machineAfter - machineBefore - ours,
        elapsedMicros: (performance.now() - startedAt) * 1000,
      };
    },
  };
}
