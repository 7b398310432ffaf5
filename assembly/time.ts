// -m time: time_mt() in net/netfilter/xt_time.c, by the packets' clock, in UTC.

import {
  TIME_DATE_START,
  TIME_DATE_STOP,
  TIME_DAY_START,
  TIME_DAY_STOP,
  TIME_MONTHDAYS,
  TIME_WEEKDAYS,
} from "../src/layout";

const DAY: i64 = 86400;
/** Years begin with March here, so that a leap day is the last one; four hundred of them have so many days. */
const ERA_DAYS: i64 = 146097;
const DAYS_BEFORE_1970: i64 = 719468;

/** @param asked TIME_ words */
export function meetsTime(asked: usize, contiguous: bool, clock: f64): bool {
  const seconds = <i64>floor<f64>(clock);
  if (seconds < <i64>load<u32>(asked, TIME_DATE_START) || seconds > <i64>load<u32>(asked, TIME_DATE_STOP)) return false;
  const start = load<u32>(asked, TIME_DAY_START);
  const stop = load<u32>(asked, TIME_DAY_STOP);
  const daytime = <u32>(seconds % DAY);
  let day = seconds / DAY;
  if (start < stop) {
    if (daytime < start || daytime > stop) return false;
  } else {
    if (daytime < start && daytime > stop) return false;
    if (contiguous && daytime <= stop) day--;
  }
  // the first day of 1970 was a Thursday
  const weekday = <u32>((day + 10) % 7) + 1;
  if (((load<u32>(asked, TIME_WEEKDAYS) >> weekday) & 1) == 0) return false;
  return ((load<u32>(asked, TIME_MONTHDAYS) >> monthdayOf(day)) & 1) != 0;
}

/** @param day from the first one of 1970 on */
function monthdayOf(day: i64): u32 {
  const inEra = <u32>((day + DAYS_BEFORE_1970) % ERA_DAYS);
  const year = (inEra - inEra / 1460 + inEra / 36524 - inEra / 146096) / 365;
  const inYear = inEra - (365 * year + year / 4 - year / 100);
  const month = (5 * inYear + 2) / 153;
  return inYear - (153 * month + 2) / 5 + 1;
}
