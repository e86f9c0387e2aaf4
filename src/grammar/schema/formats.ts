/**
 * Texts of JSON Schema's formats, as regular expressions. Each is within what the format's standard
 * allows; where the standard is wide (addresses, calendars), it is the plain part of it.
 */
const HOUR_MINUTE = '(?:[01]\\d|2[0-3]):[0-5]\\d';
const DATE =
  '\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))';
const TIME = `${HOUR_MINUTE}:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-]${HOUR_MINUTE})`;
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const HOSTNAME = `${LABEL}(?:\\.${LABEL}){0,3}`;
const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`;
const GROUP = '[0-9a-fA-F]{1,4}';
const IPV6 = [
  `(?:${GROUP}:){7}${GROUP}`,
  `(?:${GROUP}:){1,7}:`,
  ...[6, 5, 4, 3, 2, 1].map((n) => `(?:${GROUP}:){1,${n}}(?::${GROUP}){1,${7 - n}}`),
  `:(?::${GROUP}){1,7}`,
  '::',
].join('|');
const PATH_CHARACTER = "(?:[a-zA-Z0-9\\-._~!$&'()*+,;=:@/]|%[0-9a-fA-F]{2})";
const QUERY = `(?:\\?(?:${PATH_CHARACTER}|\\?)*)?(?:#(?:${PATH_CHARACTER}|\\?)*)?`;
const URI = `[a-zA-Z][a-zA-Z0-9+.-]*:(?://(?:${HOSTNAME}|${IPV4})(?::\\d{1,5})?(?:/${PATH_CHARACTER}*)?|[a-zA-Z0-9._~@+-]${PATH_CHARACTER}*)${QUERY}`;
const DURATION_TIME = 'T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)';
const DURATION_DATE = '(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)';

export const formats: ReadonlyMap<string, string> = new Map(
  Object.entries({
    date: DATE,
    time: TIME,
    'date-time': `${DATE}T${TIME}`,
    duration: `P(?:\\d+W|${DURATION_DATE}(?:${DURATION_TIME})?|${DURATION_TIME})`,
    email: `[a-zA-Z0-9_+-]+(?:\\.[a-zA-Z0-9_+-]+)*@${LABEL}(?:\\.${LABEL}){1,3}`,
    hostname: HOSTNAME,
    ipv4: IPV4,
    ipv6: IPV6,
    uuid: '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
    uri: URI,
    'uri-reference': `(?:${URI}|/?(?:[a-zA-Z0-9._~-]${PATH_CHARACTER}*)?${QUERY})`,
    'json-pointer': '(?:/(?:[^~/\\u0000-\\u001f]|~[01])*)*',
  }).map(([name, pattern]) => [name, `^(?:${pattern})$`]),
);
