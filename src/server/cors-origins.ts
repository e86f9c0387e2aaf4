import { MowgliError } from '../errors.ts';

/**
 * The origin of a URL as browsers send it: scheme, name, and the port unless it is the scheme's own.
 * `undefined` where there is none: `example.com` alone has no scheme.
 */
export function originOf(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, host, origin } = new URL(url);
  if (host === '' || host.includes('*')) return undefined;
  // `tauri://localhost`: pages of applications have origins that the standard of URLs does not know.
  return origin === 'null' ? `${protocol}//${host}` : origin;
}

/**
 * Origins whose pages may use the server, in the form in which they are compared.
 * @throws MowgliError `OPTION_INVALID` for what is neither an origin nor `*`
 */
export function readCorsOrigins(given: readonly string[]): readonly string[] {
  return given.map((text) => {
    const origin = text === '*' ? text : originOf(text);
    if (origin !== undefined) return origin;
    throw new MowgliError(
      'OPTION_INVALID',
      `corsOrigin: '${text}' is not an origin; pass one such as ${originExample}`,
    );
  });
}

/** What messages show of origins. */
export const originExample = "https://example.com or http://localhost:3000, or '*' for all";
