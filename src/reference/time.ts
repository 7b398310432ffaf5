// `-m time`: the packets' clock counts seconds from the beginning of 1970 on, and days are those of UTC.
//
// time_mt() in net/netfilter/xt_time.c.

import type { TimeMatch } from "../rules/ruleset.ts";

const DAY = 86400;
const SUNDAY = 7;

export function meetsTime(match: TimeMatch, clock: number): boolean {
  const { dateStart, dateStop, dayStart, dayStop, weekdays, monthdays, contiguous } = match;
  const seconds = Math.floor(clock);
  if (seconds < dateStart || seconds > dateStop) return false;
  const daytime = seconds % DAY;
  const pastMidnight = dayStart >= dayStop;
  const within = pastMidnight ? daytime >= dayStart || daytime <= dayStop : daytime >= dayStart && daytime <= dayStop;
  if (!within) return false;
  // what is left of a night belongs to the day on which it began
  const belongsToBefore = pastMidnight && contiguous && daytime <= dayStop;
  const date = new Date((seconds - (belongsToBefore ? DAY : 0)) * 1000);
  const weekday = date.getUTCDay() === 0 ? SUNDAY : date.getUTCDay();
  return ((weekdays >>> weekday) & 1) === 1 && ((monthdays >>> date.getUTCDate()) & 1) === 1;
}
