using System.Threading;
using System.Threading.Tasks;

public sealed class Throttle
{
    private readonly SemaphoreSlim _slots;

    public Throttle(int limit) => _slots = new SemaphoreSlim(limit);

    public async Task<T> RunAsync<T>(System.Func<Task<T>> work)
    {
        await _slots.WaitAsync();
        try
        {
            return await work();
        }
        finally
        {
            _slots.Release();
        }
    }
}
