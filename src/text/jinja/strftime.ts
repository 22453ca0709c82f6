const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/**
 * A moment as clocks on the wall show it, with no zone to it: what Python's naive datetime holds.
 */
export interface WallTime {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly microsecond: number;
}

const date = String.raw`(\d{4})-(\d\d)-(\d\d)`;
const clock = String.raw`(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?`;
const iso = new RegExp(`^${date}(?:[T ]${clock})?(?:Z|[+-]\\d\\d:?\\d\\d)?$`);

/** The time that an ISO 8601 text shows; a zone in it is not applied. Undefined when it is none. */
export function parseWallTime(value: string): WallTime | undefined {
  const match = iso.exec(value);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = ''] = match;
  const time: WallTime = {
    year: Number(year),
    month: Number(month),
    day: Number(day),
    hour: Number(hour ?? 0),
    minute: Number(minute ?? 0),
    second: Number(second ?? 0),
    microsecond: Number(fraction.padEnd(6, '0')),
  };
  const real = new Date(Date.UTC(time.year, time.month - 1, time.day));
  const exists = real.getUTCMonth() === time.month - 1 && real.getUTCDate() === time.day;
  return exists && time.hour < 24 && time.minute < 60 && time.second < 60 ? time : undefined;
}

/** C's strftime in the C locale; a directive that it does not know stays as it is. */
export function strftime(format: string, time: WallTime): string {
  return format.replace(/%([-_0^]?)([a-zA-Z%])/g, (all, flag: string, letter: string) => {
    const composed = compositions[letter];
    if (composed !== undefined) return strftime(composed, time);
    const value = directive(letter, time);
    if (value === undefined) return all;
    if (flag === '-') return value.replace(/^[0 ]+(?=.)/, '');
    if (flag === '_') return value.replace(/^0+(?=.)/, (zeros) => ' '.repeat(zeros.length));
    return flag === '^' ? value.toUpperCase() : value;
  });
}

const compositions: Readonly<Record<string, string>> = {
  D: '%m/%d/%y',
  F: '%Y-%m-%d',
  R: '%H:%M',
  T: '%H:%M:%S',
  X: '%H:%M:%S',
  c: '%a %b %e %H:%M:%S %Y',
  r: '%I:%M:%S %p',
  x: '%m/%d/%y',
};

function directive(letter: string, time: WallTime): string | undefined {
  const midnight = Date.UTC(time.year, time.month - 1, time.day);
  const weekday = new Date(midnight).getUTCDay();
  const yearDay = Math.round((midnight - Date.UTC(time.year, 0, 1)) / 86_400_000);
  switch (letter) {
    case 'A':
      return days[weekday];
    case 'a':
      return days[weekday]?.slice(0, 3);
    case 'B':
      return months[time.month - 1];
    case 'b':
    case 'h':
      return months[time.month - 1]?.slice(0, 3);
    case 'C':
      return two(Math.floor(time.year / 100));
    case 'd':
      return two(time.day);
    case 'e':
      return String(time.day).padStart(2, ' ');
    case 'f':
      return String(time.microsecond).padStart(6, '0');
    case 'H':
      return two(time.hour);
    case 'I':
      return two(time.hour % 12 === 0 ? 12 : time.hour % 12);
    case 'j':
      return String(yearDay + 1).padStart(3, '0');
    case 'M':
      return two(time.minute);
    case 'm':
      return two(time.month);
    case 'n':
      return '\n';
    case 'p':
      return time.hour < 12 ? 'AM' : 'PM';
    case 'S':
      return two(time.second);
    case 't':
      return '\t';
    case 'U':
      return two(Math.floor((yearDay + 7 - weekday) / 7));
    case 'u':
      return String(weekday === 0 ? 7 : weekday);
    case 'W':
      return two(Math.floor((yearDay + 7 - ((weekday + 6) % 7)) / 7));
    case 'w':
      return String(weekday);
    case 'Y':
      return String(time.year);
    case 'y':
      return two(time.year % 100);
    case 'Z':
    case 'z':
      return '';
    case '%':
      return '%';
    default:
      return undefined;
  }
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
