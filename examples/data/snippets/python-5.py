import asyncio


async def worker(name, queue):
    while True:
        job = await queue.get()
        print(f"{name} takes {job}")
        await asyncio.sleep(0.1)
        queue.task_done()


async def main():
    queue = asyncio.Queue(maxsize=10)
    tasks = [asyncio.create_task(worker(f"worker {n}", queue)) for n in range(3)]
    for job in range(20):
        await queue.put(job)
    await queue.join()
    for task in tasks:
        task.cancel()


asyncio.run(main())
