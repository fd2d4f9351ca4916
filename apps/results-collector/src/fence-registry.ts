import type { FenceRegistry } from '@sluice/broker';
import type { Store } from '@sluice/store';

/** Where the members of the fence are known: PostgreSQL, which every fence has to read anyway. */
export function registryOf(store: Store): FenceRegistry {
  return {
    register: (member) => store.registerFenceMember(member),
    members: () => store.fenceMembers(),
    forget: (memberId) => store.forgetFenceMember(memberId),
  };
}
