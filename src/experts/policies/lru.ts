import { RankedPolicy } from './ranked-policy.ts';

/** Least recently used: of experts that are worth the same, the one used longest ago goes. */
export class LruPolicy extends RankedPolicy {
  protected override worth(): number {
    return 0;
  }

  protected override use(): void {}

  protected override tick(): void {}
}
